"""Builds the output of `/v1/responses`: engine events in, OpenAI's events out, items on the way."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

from models.values import Finished, TextDelta, TokenEvent, TokenUsage, ToolCallDelta
from tiffin.api.moderation import Said, of_response
from tiffin.api.schemas.logprobs import EventLogprob, Logprob
from tiffin.api.schemas.responses import Status
from tiffin.api.schemas.responses_answer import (
    IncompleteDetails,
    InputTokensDetails,
    OutputCall,
    OutputItem,
    OutputMessage,
    OutputText,
    Response,
    ResponseEvent,
    ResponseUsage,
)
from tiffin.core.context import Bill

CUT = {
    "length": IncompleteDetails(reason="max_output_tokens"),
    "content_filter": IncompleteDetails(reason="content_filter"),
}
"""Why an answer is incomplete, by the reason for which the engine or the safety policy ended it."""


class Output:
    """One response as it comes together. At most one item is open at a time."""

    def __init__(
        self, response: Response, bill: Bill, moderated: Callable[[], Said] | None = None
    ) -> None:
        self.response = response
        self._bill = bill
        self._moderated = moderated
        self._items: list[OutputItem] = []
        self._open = False
        self._events = 0

    def start(self) -> Iterator[ResponseEvent]:
        """The events before the first of the engine's."""
        for name in ("created", "in_progress"):
            yield self._event(f"response.{name}", response=self.response)

    def add(self, event: TokenEvent) -> Iterator[ResponseEvent]:
        """The events that one of the engine's becomes."""
        match event:
            case TextDelta():
                yield from self._add_text(event)
            case ToolCallDelta():
                yield from self._add_call(event)
            case Finished():
                yield from self._finish(event)

    def next_number(self) -> int:
        """The number of the next event."""
        self._events += 1
        return self._events - 1

    def _add_text(self, event: TextDelta) -> Iterator[ResponseEvent]:
        if not (self._open and isinstance(self._items[-1], OutputMessage)):
            yield from self._close("completed")
            yield from self._open_message()
        message = self._items[-1]
        assert isinstance(message, OutputMessage)  # noqa: S101  opened above
        found = [Logprob.of(token) for token in event.logprobs]
        message.content[0].text += event.text
        message.content[0].logprobs += found
        yield self._event(
            "response.output_text.delta",
            **self._part_of(message),
            delta=event.text,
            logprobs=list(map(EventLogprob.of, found)),
        )

    def _add_call(self, event: ToolCallDelta) -> Iterator[ResponseEvent]:
        if event.id is not None:
            yield from self._close("completed")
            call = OutputCall(
                id=f"fc_{secrets.token_hex(16)}",
                call_id=event.id,
                name=event.name or "",
                arguments="",
                status="in_progress",
            )
            yield self._added(call)
        item = self._items[-1]
        if event.arguments and isinstance(item, OutputCall):
            item.arguments += event.arguments
            yield self._event(
                "response.function_call_arguments.delta",
                output_index=self._index,
                item_id=item.id,
                delta=event.arguments,
            )

    def _finish(self, event: Finished) -> Iterator[ResponseEvent]:
        cut = CUT.get(event.reason)
        status: Status = "incomplete" if cut else "completed"
        if not self._items:  # an answer without a word is an empty message
            yield from self._open_message()
        yield from self._close(status)
        self.response = self.response.model_copy(
            update={
                "status": status,
                "incomplete_details": cut,
                "output": self._items,
                "usage": _usage(event.usage, self._bill.usd),
                "moderation": of_response(self._moderated()) if self._moderated else None,
            }
        )
        yield self._event(f"response.{status}", response=self.response)

    def _open_message(self) -> Iterator[ResponseEvent]:
        message = OutputMessage(id=f"msg_{secrets.token_hex(16)}", status="in_progress", content=[])
        yield self._added(message)
        message.content.append(OutputText(text="", logprobs=[]))
        yield self._event(
            "response.content_part.added", **self._part_of(message), part=message.content[0]
        )

    def _added(self, item: OutputItem) -> ResponseEvent:
        self._items.append(item)
        self._open = True
        return self._event("response.output_item.added", output_index=self._index, item=item)

    def _close(self, status: Status) -> Iterator[ResponseEvent]:
        """End the open item, if there is one."""
        if not self._open:
            return
        self._open = False
        item = self._items[-1]
        item.status = status
        if isinstance(item, OutputMessage):
            part, where = item.content[0], self._part_of(item)
            logprobs = list(map(EventLogprob.of, part.logprobs))
            yield self._event(
                "response.output_text.done", **where, text=part.text, logprobs=logprobs
            )
            yield self._event("response.content_part.done", **where, part=part)
        else:
            yield self._event(
                "response.function_call_arguments.done",
                output_index=self._index,
                item_id=item.id,
                name=item.name,
                arguments=item.arguments,
            )
        yield self._event("response.output_item.done", output_index=self._index, item=item)

    @property
    def _index(self) -> int:
        return len(self._items) - 1

    def _part_of(self, message: OutputMessage) -> dict[str, Any]:
        return {"output_index": self._index, "content_index": 0, "item_id": message.id}

    def _event(self, kind: str, **fields: Any) -> ResponseEvent:  # noqa: ANN401  each field has its own type
        return ResponseEvent(type=kind, sequence_number=self.next_number(), **fields)


def _usage(usage: TokenUsage, usd: float) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=usage.cached_tokens),
        output_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        cost=usd,
    )
