"""The exact cache in front of chats and questions: which may be kept, and how they are given again.

Called by `tiffin.gateway`. What may not be kept passes by without anything being looked up.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence

import msgspec
from pydantic import ValidationError

from models.values import Finished, GenerateRequest
from tiffin.cache.answers import AnswerCache, Ask, Kept
from tiffin.cache.control import control_of
from tiffin.cache.entry import BrokenError
from tiffin.cache.keys import chat_key, question_key
from tiffin.core.context import RequestContext
from tiffin.core.values import Cost, RagAnswer, RagDelta, RagEvent, RagRequest, RagSources, Timings
from tiffin.corpus.entities import Corpus
from tiffin.pipeline.writing import Head, Piece

FREE = Cost(usd=0.0, strongest_usd=0.0, attempts=0, estimated=False)
AT_ONCE = Timings(first_token_ms=0.0, total_ms=0.0)


class Replay:
    """Of one entry service; `mark` is the fingerprint of what it answers with."""

    def __init__(self, cache: AnswerCache, mark: bytes) -> None:
        self._cache = cache
        self._mark = mark

    def ask(
        self,
        request: RagRequest,
        context: RequestContext,
        compute: Callable[[], AsyncGenerator[RagEvent, None]],
        corpus: Corpus | None = None,
    ) -> AsyncGenerator[RagEvent, None]:
        """The events of an answer to the question, over its corpus as it is now."""
        deterministic = request.temperature == 0 or request.seed is not None
        control = control_of(
            context.cache_control, wanted=request.cache, deterministic=deterministic
        )
        if control.off:
            return compute()
        state, its = ("", "") if corpus is None else (corpus.state, corpus.id)
        key = question_key(self._mark, context.tenant, request, state)
        whole, codec = not request.stream, QuestionCodec()
        return self._cache.events(
            Ask(key, control, context, codec, compute, whole, request.query, its)
        )

    def write(
        self,
        lane: str,
        requests: Sequence[GenerateRequest],
        context: RequestContext,
        compute: Callable[[], AsyncGenerator[Head | Piece, None]],
        *,
        wanted: bool | None,
        whole: bool,
    ) -> AsyncGenerator[Head | Piece, None]:
        """The events of an answer to a chat; `wanted` is its field `cache`.

        With an adapter nothing is kept: its weights have no digest here.
        """
        first = requests[0]
        deterministic = first.temperature == 0 or first.seed is not None
        if not (deterministic or wanted) or first.adapter is not None:
            return compute()  # most chats are sampled, and are to notice nothing of a cache
        control = control_of(context.cache_control, wanted=wanted, deterministic=deterministic)
        if control.off:
            return compute()
        key = chat_key(self._mark, context.tenant, lane, requests)
        asked = first.messages[-1].content if first.messages else str(first.prompt)
        return self._cache.events(Ask(key, control, context, ChatCodec(), compute, whole, asked))


class _Chat(msgspec.Struct, frozen=True):
    head: Head
    pieces: list[Piece]


_chats = msgspec.msgpack.Decoder(_Chat)


class ChatCodec:
    """Keeps the head and the pieces as they came, so that a replay streams as the answer did."""

    def keep(self, events: list[Head | Piece]) -> Kept | None:
        """The events, if all choices ended as a model ends and no part stood in for another."""
        heads = [event for event in events if isinstance(event, Head)]
        pieces = [event for event in events if isinstance(event, Piece)]
        ends = [piece.event for piece in pieces if isinstance(piece.event, Finished)]
        if heads[0].degraded or any(end.reason == "content_filter" for end in ends):
            return None
        payload = msgspec.msgpack.encode(_Chat(heads[0], pieces))
        return heads[0].tier, heads[0].model, payload

    def replay(self, payload: bytes, context: RequestContext) -> Iterable[Head | Piece]:
        """The same events."""
        del context
        try:
            chat = _chats.decode(payload)
        except msgspec.MsgspecError as error:
            raise BrokenError(str(error)) from error
        return [chat.head, *chat.pieces]

    def shared(self, event: Head | Piece, context: RequestContext) -> Head | Piece:
        """The same event: none of them says whose it is."""
        del context
        return event


class QuestionCodec:
    """Keeps the whole answer. It replays as the sources, the text, and the answer with its id."""

    def keep(self, events: list[RagEvent]) -> Kept | None:
        """The answer, unless it is a refusal or was given without something."""
        answer = events[-1]
        if not isinstance(answer, RagAnswer) or answer.degraded or not answer.answered:
            return None
        unchecked = any(run.outcome == "not_run" for run in answer.checks)
        if unchecked or answer.finish_reason == "content_filter":
            return None
        return answer.route.tier, answer.route.model, answer.model_dump_json().encode()

    def replay(self, payload: bytes, context: RequestContext) -> Iterator[RagEvent]:
        """The events of a stream, with this request's id, no cost and no time."""
        try:
            kept = RagAnswer.model_validate_json(payload)
        except ValidationError as error:
            raise BrokenError(str(error)) from error
        answer = self.shared(kept, context)
        yield RagSources(id=context.request_id, sources=kept.sources, route=kept.route)
        yield RagDelta(text=kept.answer, citations=kept.citations)
        yield answer.model_copy(update={"timings": AT_ONCE})

    def shared(self, event: RagEvent, context: RequestContext) -> RagEvent:
        """The event with this request's id and no cost."""
        if isinstance(event, RagDelta):
            return event
        update: dict[str, object] = {"id": context.request_id}
        if isinstance(event, RagAnswer):
            update["cost"] = FREE
        return event.model_copy(update=update)
