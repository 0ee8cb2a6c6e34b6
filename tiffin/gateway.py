"""The application behind the routes: what answers, writes and judges, and who may enter.

`tiffin.composition` makes it; `tiffin.api` finds it in the app's state.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request

from models.values import Finished, GenerateRequest
from tiffin import __version__
from tiffin.cache.store import Store
from tiffin.clients import Clients
from tiffin.config.settings import Settings
from tiffin.core.checks import Part
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import InvalidRequest, Unavailable, UpstreamFailed
from tiffin.core.text import estimate_tokens
from tiffin.core.values import QUOTE, RagAnswer, RagEvent, RagRequest, RagSources
from tiffin.corpus.corpora import Corpora
from tiffin.corpus.entities import Corpus
from tiffin.lifecycle.drain import Drain
from tiffin.lifecycle.readiness import Readiness
from tiffin.pipeline.chat import ChatPipeline
from tiffin.pipeline.chat_safety import ChatGuard
from tiffin.pipeline.compare import Compared, compare
from tiffin.pipeline.decisions import Decided, Decisions
from tiffin.pipeline.first_token import Asked
from tiffin.pipeline.likeness import Likeness
from tiffin.pipeline.moderated import Moderated
from tiffin.pipeline.rag import RagPipeline
from tiffin.pipeline.replay import Replay
from tiffin.pipeline.writing import Head as ChatHead
from tiffin.pipeline.writing import Piece
from tiffin.providers.base import Provider
from tiffin.routing.ledger import Ledger
from tiffin.routing.names import check_allowed, routed_name
from tiffin.safety.guard import Guard
from tiffin.telemetry import answers, metrics
from tiffin.traffic import saturation
from tiffin.traffic.admission import AdmissionQueue
from tiffin.traffic.quota import charge


@dataclass(frozen=True)
class Gateway:
    """The running application behind the routes. Starts within an event loop."""

    settings: Settings
    clients: Clients
    models: Mapping[str, str]
    """The model of each tier by the tier's name, the cheapest tier first."""
    pipeline: RagPipeline
    chat: ChatPipeline
    readiness: Readiness
    admission: AdmissionQueue
    drain: Drain
    providers: Mapping[str, Provider]
    ledger: Ledger
    store: Store
    """Where the cache keeps answers."""
    replay: Replay | None
    """The exact cache; None if it is switched off."""
    corpora: Corpora
    decisions: Decisions
    likeness: Likeness
    """Who says whether two questions are one."""
    guard: Guard | None = None
    """Asks the Safety service, if it runs."""
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def lane_of(self, model: str) -> str:
        """The tier or policy that a model's name stands for. Raises NotFound for any other name."""
        tier = self.settings.adapters().get(model)
        return tier or routed_name(model, self.models, self.settings.routing.policies)

    def _check(self, model: str, lane: str, context: RequestContext) -> None:
        """Raise Forbidden if the key may not use the model, whose tier or policy is the lane."""
        check_allowed(context.grant, model, lane, self.models)

    def ask(self, request: RagRequest, context: RequestContext) -> AsyncGenerator[RagEvent, None]:
        """Answer a question: the pipeline's events, once the request has its place, or kept ones.

        Raises NotFound for a model that is not served or a corpus that is not there, and Forbidden
        for a model that the key may not use.
        """
        lane = request.model
        if lane != QUOTE:
            lane = routed_name(lane, self.models, self.settings.routing.policies)
            self._check(request.model, lane, context)
        request, context = request.model_copy(update={"model": lane}), _named_by(request, context)
        compute = partial(self._answer, request, context)
        if self.replay is None:
            return compute()
        if self.corpora.store.shared is not None and request.corpora:
            return self._replayed(self.replay, request, context, compute)
        return self.replay.ask(request, context, compute, self._corpora_of(request, context))

    def _corpora_of(self, request: RagRequest, context: RequestContext) -> list[Corpus]:
        """Their versions, before anything is found in them."""
        return [self.corpora.store.find(context.tenant, name) for name in request.corpora]

    async def _replayed(
        self,
        replay: Replay,
        request: RagRequest,
        context: RequestContext,
        compute: Callable[[], AsyncGenerator[RagEvent, None]],
    ) -> AsyncGenerator[RagEvent, None]:
        """The same over corpora whose records are on another machine."""
        corpora = await asyncio.to_thread(self._corpora_of, request, context)
        async with aclosing(replay.ask(request, context, compute, corpora)) as events:
            async for event in events:
                yield event

    async def _answer(
        self, request: RagRequest, context: RequestContext
    ) -> AsyncGenerator[RagEvent, None]:
        async with (
            self._place(context, request.model),
            aclosing(self.pipeline.stream(request, context)) as events,
        ):
            async for event in events:
                if isinstance(event, RagSources | RagAnswer):
                    context.bill.answered_by = event.route.tier
                if isinstance(event, RagAnswer):
                    answers.observe(event)
                    used = event.usage
                    charge(used.total_tokens + used.embedding_tokens + used.rerank_tokens)
                yield event

    def write(
        self,
        model: str,
        requests: Sequence[GenerateRequest],
        context: RequestContext,
        *,
        whole: bool,
        cache: bool | None = None,
        moderated: Moderated | None = None,
    ) -> AsyncGenerator[ChatHead | Piece, None]:
        """Generate without retrieval: the head, then the pieces of one answer a request.

        `cache` is the body's switch. What is moderated is not kept, because a kept answer has no
        scores. Raises NotFound for a model that is not served, and Forbidden for one that the key
        may not use.
        """
        if model in self.settings.adapters():
            requests = [replace(request, adapter=model) for request in requests]
        lane = self.lane_of(model)
        self._check(model, lane, context)
        guard = None if moderated is None else moderated.guard
        compute = partial(self._write, lane, requests, context, whole=whole, guard=guard)
        if self.replay is None or moderated is not None:
            return compute()
        return self.replay.write(lane, requests, context, compute, wanted=cache, whole=whole)

    async def _write(
        self,
        lane: str,
        requests: Sequence[GenerateRequest],
        context: RequestContext,
        *,
        whole: bool,
        guard: ChatGuard | None,
    ) -> AsyncGenerator[ChatHead | Piece, None]:
        async with (
            self._place(context, lane),
            aclosing(self.chat.stream(lane, requests, context, whole=whole, guard=guard)) as events,
        ):
            async for event in events:
                if isinstance(event, ChatHead):
                    context.bill.answered_by = event.tier
                elif isinstance(event.event, Finished):
                    used = event.event.usage
                    charge(used.prompt_tokens + used.completion_tokens)
                yield event

    def away(self) -> dict[str, float]:
        """The tiers whose circuit breaker is open, with the seconds until they are asked again."""
        breakers = {tier: self.chat.routing.failover.breaker(tier) for tier in self.models}
        return {tier: round(one.waits_s(), 1) for tier, one in breakers.items() if one.is_open}

    def flagged_chunks(self, file: str) -> int | None:
        """How many chunks of a stored file hold instructions for the model, if that is known."""
        verdicts = None if self.guard is None else self.guard.verdicts
        return None if verdicts is None else verdicts.flagged(file)

    def moderated(self, blocks: frozenset[Part], context: RequestContext) -> Moderated:
        """What scores the input and output of a chat. Raises InvalidRequest if safety is off."""
        if self.guard is None:
            message = "moderation: safety is off; TIFFIN_SAFETY__ENABLED turns it on"
            raise InvalidRequest(message, param="moderation", code="safety_off")
        return Moderated(self.guard, self.chat.policies.of(context.tenant), blocks)

    async def decide(
        self,
        model: str,
        text: str,
        questions: Sequence[Asked],
        context: RequestContext,
        body: dict[str, Any],
    ) -> Decided:
        """Judge a text. Raises NotFound and Forbidden as `write` does."""
        lane = QUOTE
        if model != QUOTE:
            lane = self.lane_of(model)
            self._check(model, lane, context)
        async with self._place(context, lane):
            decided = await self.decisions.decide(lane, text, questions, context, body)
        charge(decided.usage.prompt_tokens + decided.usage.completion_tokens)
        return decided

    async def compare(
        self, kept: RagRequest, new: RagRequest, answer: str, context: RequestContext
    ) -> Compared:
        """Whether one question's answer would be given to the other. Raises NotFound."""
        async with self._place(context, QUOTE):
            found = await compare(
                self.pipeline, self.likeness, kept, new, answer=answer, context=context
            )
        charge(found.embedding_tokens + found.rerank_tokens)
        return found

    async def count_tokens(
        self, model: str, request: GenerateRequest, context: RequestContext
    ) -> int:
        """Tokens of a prompt for that model; a policy's is counted for its cheapest tier.

        Raises NotFound. For a provider, which does not tell, it is an estimate.
        """
        lane = self.lane_of(model)
        tier = lane if lane in self.models else next(iter(self.models))
        client = self.clients.tiers.get(tier)
        if client is not None:
            return await client.count_tokens(request, context)
        return estimate_tokens(sum(len(turn.content) for turn in request.messages))

    @asynccontextmanager
    async def _place(self, context: RequestContext, lane: str) -> AsyncGenerator[None, None]:
        """Hold a place in the admission queue, and count how the request in the block ends."""
        if missing := self.readiness.missing():
            message = f"not ready: waiting for {', '.join(missing)}"
            raise Unavailable(message)
        with answers.outcome():
            async with self.admission.place(context, lane):
                yield

    def start(self) -> None:
        """Begin to watch the services and to report saturation."""
        metrics.series(metrics.build_info, __version__, self.settings.profile).set(1)
        self.readiness.start()
        self.corpora.start()
        watch = saturation.watch(self.admission)
        self._tasks.add(asyncio.get_running_loop().create_task(watch))

    async def cut_off(self) -> None:
        """End the calls in flight: those who wait for them get a typed error."""
        await self.readiness.stop()
        for client in self.clients.by_service().values():
            client.lost = "the server is shutting down"

    async def stop(self) -> None:
        """Close the connections, the cache and the ledger."""
        for task in self._tasks:
            task.cancel()
        await self.readiness.stop()
        await self.corpora.stop()
        for client in self.clients.by_service().values():
            await client.close()
        for provider in self.providers.values():
            await provider.close()
        if self.guard is not None:
            await self.guard.close()
        await self.store.close()
        self.ledger.close()


def _named_by(request: RagRequest, context: RequestContext) -> RequestContext:
    """The context with what the request's body says; that beats the headers."""
    if request.timeout_ms is not None:
        deadline = Deadline.after(request.timeout_ms / 1000)
        context = replace(context, deadline=deadline, deadline_named=True)
    if request.priority is not None:
        context = replace(context, batch=request.priority == "batch")
    return context


async def whole_answer(events: AsyncGenerator[RagEvent, None]) -> RagAnswer:
    """The last event. Read to the end, because one that is closed before counts as abandoned."""
    answer: RagAnswer | None = None
    async with aclosing(events):
        async for event in events:
            if isinstance(event, RagAnswer):
                answer = event
    if answer is None:
        message = "the pipeline ended without an answer"
        raise UpstreamFailed(message)
    return answer


def gateway_of(http: Request) -> Gateway:
    """The gateway of this app. Raises Unavailable until the service has started."""
    gateway: Gateway | None = getattr(http.app.state, "gateway", None)
    if gateway is None:
        message = "the service is starting"
        raise Unavailable(message)
    return gateway


def work_of(http: Request) -> tuple[Gateway, RequestContext]:
    """The gateway, and the context that the context middleware gave the request.

    Called by the routes themselves: FastAPI takes longer over two `Depends` than over the body.
    """
    return gateway_of(http), http.state.context
