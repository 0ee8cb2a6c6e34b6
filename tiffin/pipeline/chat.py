"""Generation without retrieval: choose the tier, begin on it, follow one or several answers.

Built by `services/rag.py`, called by the OpenAI routes of `tiffin.api`. A request that names its
tier makes one call; `auto` makes two, the router's first.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

from msgspec.structs import replace

from models.values import Finished, GenerateRequest, TextDelta
from tiffin.config.resilience import StreamSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import DeadlineExceeded
from tiffin.core.messages import RouteDecision
from tiffin.pipeline.chat_safety import ChatGuard, ChatPolicies
from tiffin.pipeline.generate import Begun, Generator
from tiffin.pipeline.writing import Head, Limits, Piece, pieces
from tiffin.routing.client import Routing, ask_of
from tiffin.telemetry import metrics

DEADLINE = "deadline"
"""What an answer was given without that its deadline cut: the time to write the rest."""

REST_S = 0.25
REST_SHARE = 0.1
"""What is kept of a deadline to check and send what is written: so long, at most this share."""

EARLY_S = 0.05
"""So long before ours a tier may find that the deadline has passed."""


@dataclass(frozen=True)
class ChatPipeline:
    """Holds no state of a request; safe for any number at once.

    `models` maps each tier to its model's name, cheapest tier first; `limits` are those of streams.
    """

    routing: Routing
    generator: Generator
    models: Mapping[str, str]
    limits: StreamSettings = field(default_factory=StreamSettings)
    policies: ChatPolicies = field(default_factory=ChatPolicies)

    async def stream(
        self,
        model: str,
        requests: Sequence[GenerateRequest],
        context: RequestContext,
        *,
        whole: bool,
        guard: ChatGuard | None = None,
    ) -> AsyncGenerator[Head | Piece, None]:
        """Yield the Head, then the Pieces of all answers as they come; closing it stops the work.

        `model` is a policy or a tier; `whole` says that the client does not read it as a stream.
        `requests` holds one for each answer, and is never empty. An answer that fails ends all.
        `guard` stands in place of the tenant's policies.
        """
        began = time.perf_counter()
        guard = guard or self.policies.of(context.tenant)
        requests = await guard.admitted(requests, context)
        decision, degraded = await self._decide(model, requests, context, whole=whole)
        if any(run.outcome == "not_run" for run in context.checks):
            degraded.append("check")
        held = any(request.tools for request in requests)
        written_by = _written_by(context)
        limits = Limits.of(
            replace(context, deadline=written_by),
            written_by,
            self.limits,
            streamed=not whole,
            held=held,
        )
        async with AsyncExitStack() as stack:  # which closes the others where one fails to close
            answers = await self._begin_all(decision, requests, limits.put_on(context))
            for answer in answers:
                await stack.enter_async_context(aclosing(answer.rest))
            tier = answers[0].tier
            if tier != decision.tier:
                degraded.append("tier")
            yield Head(tier, self.models[tier], degraded)
            written = [_in_time(one, limits, at, degraded) for at, one in enumerate(answers)]
            followed = written[0] if len(written) == 1 else _merge(written)
            followed = guard.released(followed, requests, context)
            waiting = True
            async with aclosing(followed):
                async for piece in followed:
                    if waiting and isinstance(piece.event, TextDelta):
                        waiting = False
                        metrics.observe_first_token(tier, time.perf_counter() - began)
                    elif isinstance(piece.event, Finished):
                        metrics.observe_usage(answers[piece.index].tier, piece.event.usage)
                    yield piece

    async def _decide(
        self,
        model: str,
        requests: Sequence[GenerateRequest],
        context: RequestContext,
        *,
        whole: bool,
    ) -> tuple[RouteDecision, list[str]]:
        """The routing decision, and what it was made without."""
        request = requests[0]
        ask = ask_of(_query(request), model, request, whole=whole, answers=len(requests))
        decision = await self.routing.route(ask, context)
        degraded = context.bill.degraded
        if decision.degraded:
            degraded.append("router")
        if isinstance(request.prompt, list):  # tokens mean something to one model only
            decision = replace(decision, fallbacks=[])
        return decision, degraded

    async def _begin_all(
        self,
        decision: RouteDecision,
        requests: Sequence[GenerateRequest],
        context: RequestContext,
    ) -> list[Begun]:
        """All answers, begun side by side; when one cannot begin, none goes on."""
        if len(requests) == 1:
            return [await self.generator.begin(decision, requests[0], context)]
        begin = self.generator.begin
        tasks = [asyncio.ensure_future(begin(decision, one, context)) for one in requests]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            for begun in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(begun, Begun):
                    await begun.rest.aclose()
            raise


def _query(request: GenerateRequest) -> str:
    """What the router judges: the last words of the user, or the prompt."""
    if isinstance(request.prompt, str):
        return request.prompt
    turns = [message.content for message in request.messages if message.role == "user"]
    return turns[-1] if turns else ""


def _written_by(context: RequestContext) -> Deadline:
    """When an answer is cut, so that what is written by then still reaches the client in time."""
    rest_s = min(REST_S, REST_SHARE * context.deadline.remaining())
    return Deadline(context.deadline.at - rest_s)


async def _in_time(
    answer: Begun, limits: Limits, index: int, degraded: list[str]
) -> AsyncGenerator[Piece, None]:
    """The pieces of an answer. One that is cut by its deadline ends as one cut by `max_tokens`.

    Its tokens are estimated. Raises DeadlineExceeded if nothing was written, or if the model
    stopped writing long before.
    """
    written = False
    try:
        async with aclosing(pieces(answer.first, answer.rest, limits, index)) as events:
            async for piece in events:
                written = True
                yield piece
    except DeadlineExceeded:
        if not written or limits.total.remaining() > EARLY_S:
            raise
        if DEADLINE not in degraded:
            degraded.append(DEADLINE)
        yield Piece(index, Finished("length", answer.running.attempt.usage))


async def _merge(answers: Sequence[AsyncGenerator[Piece, None]]) -> AsyncGenerator[Piece, None]:
    """Several answers, each in its own order. No answer runs ahead of the reader."""
    queue: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue(maxsize=len(answers))

    async def read(answer: AsyncGenerator[Piece, None]) -> None:
        end: BaseException | None = None
        try:
            async with aclosing(answer):
                async for piece in answer:
                    await queue.put(piece)
        except Exception as error:  # noqa: BLE001  raised again where the reader is
            end = error
        await queue.put(end)

    tasks = [asyncio.create_task(read(answer)) for answer in answers]
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
