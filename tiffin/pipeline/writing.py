"""Reads what a tier writes, within limits of time. Called by `rag` and `chat` once it has begun.

A stream and a whole answer differ: a whole answer must be ready at its deadline, so what is written
by then is the answer; a stream may go on, as long as the next piece comes in time.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from msgspec.structs import replace

from models.values import Finished, TokenEvent
from tiffin.config.resilience import StreamSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import DeadlineExceeded


class Limits(msgspec.Struct, frozen=True):
    """By when the first piece and all of an answer must be there, and how far apart the pieces."""

    first: Deadline
    gap_s: float | None
    total: Deadline

    @classmethod
    def of(
        cls,
        context: RequestContext,
        answer_by: Deadline,
        stream: StreamSettings,
        *,
        streamed: bool,
        held: bool = False,
    ) -> "Limits":
        """Those of a stream, or of a whole answer, which must be there at `answer_by`.

        `held` says that parts of the answer, such as the calls of tools, come whole: the gap before
        one may be as long as the wait for a first token.
        """
        if not streamed:
            return cls(answer_by, None, answer_by)
        first = Deadline(min(answer_by.at, Deadline.after(stream.first_token_ms / 1000).at))
        total = (
            context.deadline if context.deadline_named else Deadline.after(stream.total_ms / 1000)
        )
        gap_ms = max(stream.gap_ms, stream.first_token_ms) if held else stream.gap_ms
        return cls(first, gap_ms / 1000, total)

    def put_on(self, context: RequestContext) -> RequestContext:
        """The context with which to ask a tier."""
        whole = self.gap_s is None
        return replace(context, deadline=self.total, begin_by=self.first, whole=whole)


class Head(msgspec.Struct, frozen=True):
    """Who answers. Comes first, once every answer has begun; `degraded` may grow until the end."""

    tier: str
    model: str
    degraded: list[str] = msgspec.field(default_factory=list)


class Piece(msgspec.Struct, frozen=True):
    """The next event of a request's answer number `index`."""

    index: int
    event: TokenEvent


async def pieces(
    first: TokenEvent, rest: AsyncGenerator[TokenEvent, None], limits: Limits, index: int = 0
) -> AsyncGenerator[Piece, None]:
    """What a tier writes, from its first event on. Raises DeadlineExceeded at a limit passed.

    When the last event leaves, the attempt is closed, so that its cost is on the bill.
    """
    async with aclosing(rest):
        event: TokenEvent | None = first
        while event is not None:
            if isinstance(event, Finished):
                await rest.aclose()
            yield Piece(index, event)
            event = None if isinstance(event, Finished) else await _next(rest, limits)


async def _next(rest: AsyncGenerator[TokenEvent, None], limits: Limits) -> TokenEvent | None:
    left = limits.total.remaining()
    gap = limits.gap_s
    try:
        async with asyncio.timeout(left if gap is None else min(left, gap)):
            return await anext(rest, None)
    except TimeoutError:
        if gap is not None and gap < left:
            message = f"the model wrote nothing for {gap:g} s"
        else:
            message = "the answer was not written in time"
        raise DeadlineExceeded(message) from None
