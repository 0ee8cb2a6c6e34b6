"""The safety policy of generation without retrieval. `ChatPipeline` uses it where a policy asks.

The input is checked before a model reads it, because a refusal must not reach a provider. Of the
output at most a sentence or 200 characters are held; the calls of tools are held until they end.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from msgspec.structs import replace

from models.values import (
    ChatMessage,
    Finished,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    TokenUsage,
    ToolCallDelta,
)
from tiffin.core.context import RequestContext
from tiffin.core.text import estimate_tokens
from tiffin.pipeline.released import Release
from tiffin.pipeline.writing import Piece
from tiffin.safety.policy import NOTHING_CHECKED, Judge, Judges, refusal


@dataclass(frozen=True)
class ChatPolicies:
    """The judges of input and output, for every tenant."""

    input: Judges = NOTHING_CHECKED
    output: Judges = NOTHING_CHECKED

    def of(self, tenant: str) -> "ChatGuard":
        """Those of one tenant."""
        return ChatGuard(self.input.of(tenant), self.output.of(tenant))


@dataclass(frozen=True)
class ChatGuard:
    """The judges of input and output of one tenant; None where the policy is empty."""

    input: Judge | None = None
    output: Judge | None = None

    async def admitted(
        self, requests: Sequence[GenerateRequest], context: RequestContext
    ) -> Sequence[GenerateRequest]:
        """The requests with what the policy redacts left out. Raises InvalidRequest, Unavailable.

        They are the choices of one conversation, or several prompts. What is checked of a
        conversation is what came since the assistant last spoke.
        """
        if self.input is None:
            return requests
        texts = list(dict.fromkeys(text for request in requests for text in _new(request)))
        if not texts:
            return requests
        said = dict(zip(texts, await self.input.judge(texts, context), strict=True))
        for judgement in said.values():
            if judgement.action == "block":
                field = "prompt" if requests[0].prompt is not None else "messages"
                raise refusal("input", field, judgement)
        clean = {text: judgement.redacted(text) for text, judgement in said.items()}
        if all(text == shown for text, shown in clean.items()):
            return requests
        return [_with(request, clean) for request in requests]

    def released(
        self,
        events: AsyncGenerator[Piece, None],
        requests: Sequence[GenerateRequest],
        context: RequestContext,
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of all answers once they are checked. An answer that is stopped ends."""
        if self.output is None:
            return events
        return _released(events, [_Answer(self.output, one, context) for one in requests])


async def _released(
    events: AsyncGenerator[Piece, None], answers: Sequence["_Answer"]
) -> AsyncGenerator[Piece, None]:
    async with aclosing(events):
        async for piece in events:
            answer = answers[piece.index]
            if answer.ended:
                continue
            for event in await answer.take(piece.event):
                yield Piece(piece.index, event)
            if all(one.ended for one in answers):
                return


class _Answer:
    """One answer on its way out."""

    def __init__(self, judge: Judge, request: GenerateRequest, context: RequestContext) -> None:
        self._release = Release(judge, context)
        self._request = request
        self._tokens: list[TokenLogprob] = []
        self._calls: list[ToolCallDelta] = []
        self.ended = False

    async def take(self, event: TokenEvent) -> list[TokenEvent]:
        """What may leave once this event has come."""
        if isinstance(event, ToolCallDelta):
            self._calls.append(event)
            return []
        if isinstance(event, TextDelta):
            self._tokens += event.logprobs
            found: list[TokenEvent] = [*self._text(await self._release.add(event.text))]
        else:
            found = [*self._text(await self._release.finish()), *await self._whole_calls(), event]
        if self._release.stopped:
            self.ended = True
            return [*(one for one in found if isinstance(one, TextDelta)), self._filtered()]
        self.ended = isinstance(event, Finished)
        return found

    def _text(self, text: str) -> list[TextDelta]:
        """A piece of text, with the probabilities of the tokens that lie within it."""
        if not text:
            return []
        tokens, length = list[TokenLogprob](), 0
        while self._tokens and length + len(self._tokens[0].token) <= len(text):
            tokens.append(self._tokens.pop(0))
            length += len(tokens[-1].token)
        return [TextDelta(text, tokens)]

    async def _whole_calls(self) -> list[ToolCallDelta]:
        """The calls of tools, if their arguments may leave."""
        arguments: dict[int, str] = {}
        for call in self._calls:
            arguments[call.index] = arguments.get(call.index, "") + call.arguments
        for text in arguments.values():
            if not await self._release.may_leave(text):
                return []
        return self._calls

    def _filtered(self) -> Finished:
        """The end of an answer that the policy stopped; the tier tells no usage any more."""
        read = sum(len(turn.content) for turn in self._request.messages)
        usage = TokenUsage(
            prompt_tokens=estimate_tokens(read + len(self._request.prompt or "")),
            completion_tokens=estimate_tokens(len(self._release.left)),
        )
        return Finished("content_filter", usage)


def _new(request: GenerateRequest) -> list[str]:
    """What no one has checked yet: the prompt, or the turns since the assistant last spoke."""
    if isinstance(request.prompt, str):
        return [request.prompt]
    return [turn.content for turn in _last_turns(request) if turn.content.strip()]


def _last_turns(request: GenerateRequest) -> list[ChatMessage]:
    spoken = [at for at, turn in enumerate(request.messages) if turn.role == "assistant"]
    since = request.messages[spoken[-1] + 1 if spoken else 0 :]
    return [turn for turn in since if turn.role in {"user", "tool"}]


def _with(request: GenerateRequest, clean: dict[str, str]) -> GenerateRequest:
    """The request with the texts of its last turns replaced."""
    if isinstance(request.prompt, str):
        return replace(request, prompt=clean[request.prompt])
    last = _last_turns(request)
    turns = [
        replace(turn, content=text, parts=[text, *turn.images] if turn.parts else [])
        if turn in last and (text := clean.get(turn.content, turn.content)) != turn.content
        else turn
        for turn in request.messages
    ]
    return replace(request, messages=turns)
