"""Builds the answer of `/v1/messages`: engine events in, Anthropic's events out, blocks between."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

from models.values import Finished, FinishReason, TextDelta, TokenEvent, TokenUsage, ToolCallDelta
from tiffin.api.schemas.messages import (
    AnswerText,
    AnswerUse,
    MessageAnswer,
    MessageUsage,
    StopReason,
)
from tiffin.core.context import Bill

_REASONS: dict[FinishReason, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}

Event = dict[str, Any]


class MessageOutput:
    """One answer as it comes together. At most one block is open at a time."""

    def __init__(self, model: str, bill: Bill) -> None:
        self._bill = bill
        self.message = MessageAnswer(
            id=f"msg_{secrets.token_hex(12)}", model=model, usage=MessageUsage()
        )
        self._arguments = ""
        self._open = False

    def start(self) -> Event:
        """The event before the first of the engine's."""
        return {"type": "message_start", "message": self.message.model_dump()}

    def add(self, event: TokenEvent) -> Iterator[Event]:
        """The events that one of the engine's becomes."""
        match event:
            case TextDelta():
                yield from self._add_text(event.text)
            case ToolCallDelta():
                yield from self._add_call(event)
            case Finished():
                yield from self._finish(event)

    def _add_text(self, text: str) -> Iterator[Event]:
        blocks = self.message.content
        if not (self._open and isinstance(blocks[-1], AnswerText)):
            yield from self._close()
            yield self._begin(AnswerText(text=""))
        block = blocks[-1]
        assert isinstance(block, AnswerText)  # noqa: S101  opened above
        block.text += text
        yield self._delta(type="text_delta", text=text)

    def _add_call(self, event: ToolCallDelta) -> Iterator[Event]:
        if event.id is not None:
            yield from self._close()
            yield self._begin(AnswerUse(id=event.id, name=event.name or "", input={}))
        if event.arguments:
            self._arguments += event.arguments
            yield self._delta(type="input_json_delta", partial_json=event.arguments)

    def _finish(self, event: Finished) -> Iterator[Event]:
        yield from self._close()
        self.message.stop_reason = _REASONS[event.reason]
        self.message.usage = _usage(event.usage, self._bill.usd)
        delta = {"stop_reason": self.message.stop_reason, "stop_sequence": None}
        yield {
            "type": "message_delta",
            "delta": delta,
            "usage": self.message.usage.model_dump(),
        }
        yield {"type": "message_stop"}

    def _begin(self, block: AnswerText | AnswerUse) -> Event:
        self.message.content.append(block)
        self._open, self._arguments = True, ""
        return {
            "type": "content_block_start",
            "index": self._index,
            "content_block": block.model_dump(),
        }

    def _delta(self, **delta: str) -> Event:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self) -> Iterator[Event]:
        if not self._open:
            return
        self._open = False
        block = self.message.content[-1]
        if isinstance(block, AnswerUse):
            block.input = _object(self._arguments)
        yield {"type": "content_block_stop", "index": self._index}

    @property
    def _index(self) -> int:
        return len(self.message.content) - 1


def _object(arguments: str) -> dict[str, Any]:
    """The arguments as an object; text that was cut or is none stands in one."""
    try:
        found = json.loads(arguments or "{}")
    except ValueError:
        found = arguments
    return found if isinstance(found, dict) else {"arguments": found}


def _usage(usage: TokenUsage, usd: float) -> MessageUsage:
    return MessageUsage(
        input_tokens=usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_input_tokens=usage.cached_tokens,
        cache_creation_input_tokens=usage.cache_write_tokens,
        cost=usd,
    )
