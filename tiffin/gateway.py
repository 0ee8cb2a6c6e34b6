"""The composition of the entry service: `build(settings, clients)` makes its `Gateway`.

`services/rag.py` calls it with clients of the services, and the tests with clients of stand-ins,
so that tests run the wiring that production runs. `tiffin.api` finds it in the app's state.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from msgspec.structs import replace
from starlette.requests import Request

from models.user_catalog import catalog_of
from models.values import Finished, GenerateRequest
from tiffin import __version__
from tiffin.cache.answers import AnswerCache
from tiffin.cache.keys import fingerprint
from tiffin.cache.opening import open_store
from tiffin.cache.store import Store
from tiffin.cache.vectors import Embeds, KnownVectors
from tiffin.clients import EmbeddingClient, LLMClient, RerankerClient, RouterClient, SafetyClient
from tiffin.config.safety import SafetySettings
from tiffin.config.services import BY_TIER, SERVICES
from tiffin.config.settings import Settings
from tiffin.core.checks import Part
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import InvalidRequest, Unavailable, UpstreamFailed
from tiffin.core.text import estimate_tokens
from tiffin.core.values import QUOTE, RagAnswer, RagEvent, RagRequest, RagSources
from tiffin.corpus.corpora import Corpora
from tiffin.lifecycle.drain import Drain
from tiffin.lifecycle.readiness import Readiness
from tiffin.pipeline.answering import Answer
from tiffin.pipeline.chat import ChatPipeline
from tiffin.pipeline.chat_safety import ChatGuard, ChatPolicies
from tiffin.pipeline.decisions import Decided, Decisions
from tiffin.pipeline.first_token import Asked, FirstToken
from tiffin.pipeline.generate import Generator
from tiffin.pipeline.moderated import Moderated
from tiffin.pipeline.rag import RagPipeline
from tiffin.pipeline.replay import Replay
from tiffin.pipeline.stages.cite import Cite
from tiffin.pipeline.stages.embed import Embed
from tiffin.pipeline.stages.evidence import Evidence
from tiffin.pipeline.stages.generate import Generate
from tiffin.pipeline.stages.recall import Memory, Recall, Remember
from tiffin.pipeline.stages.rerank import Rerank
from tiffin.pipeline.stages.route import Route
from tiffin.pipeline.stages.screen import CheckQuestion, Screen
from tiffin.pipeline.stages.search import Search
from tiffin.pipeline.stages.widen import Widen
from tiffin.pipeline.writing import Head as ChatHead
from tiffin.pipeline.writing import Piece
from tiffin.providers.base import Provider
from tiffin.providers.connect import connect_providers
from tiffin.routing.assembly import decider_of
from tiffin.routing.client import Routing
from tiffin.routing.ledger import Ledger
from tiffin.routing.meter import Meter
from tiffin.routing.names import check_allowed, routed_name
from tiffin.safety.guard import Guard
from tiffin.safety.policy import Judges, judges_of
from tiffin.telemetry import answers, metrics
from tiffin.traffic import saturation
from tiffin.traffic.admission import AdmissionQueue
from tiffin.traffic.failover import Failover
from tiffin.traffic.quota import charge
from tiffin.transport.client import ServiceClient


@dataclass(frozen=True)
class Clients:
    """One client a service; `tiers` has those of the LLM tiers by the tier's name."""

    embedding: EmbeddingClient
    reranker: RerankerClient
    router: RouterClient
    tiers: Mapping[str, LLMClient]
    may_sleep: frozenset[str] = frozenset()
    """Names of services that may have no replica until someone asks for them."""
    safety: SafetyClient | None = None

    def by_service(self) -> dict[str, ServiceClient]:
        """All of them by the service's name."""
        of_task: dict[str, ServiceClient] = {
            "embedding": self.embedding,
            "rerank": self.reranker,
            "route": self.router,
        }
        if self.safety is not None:
            of_task["safety"] = self.safety
        named = {row.name: of_task[row.task] for row in SERVICES if row.task in of_task}
        return named | {BY_TIER[tier].name: client for tier, client in self.tiers.items()}


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
        # Their versions, before anything is found in them.
        corpora = [self.corpora.store.find(context.tenant, name) for name in request.corpora]
        return self.replay.ask(request, context, compute, corpora)

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
        await self.store.close()
        self.ledger.close()


def build(settings: Settings, clients: Clients, drain: Drain) -> Gateway:
    """Compose the application. Raises SettingsError and LedgerError."""
    providers = connect_providers(settings.providers)
    decider = decider_of(settings, with_model=False)
    ledger = Ledger(settings.ledger_at())
    meter = Meter(decider.fleet, ledger)
    failover = Failover(settings.routing.failover)
    generator = Generator({**clients.tiers, **providers}, meter, failover)
    routing = Routing(clients.router, decider, meter, failover)
    models = {tier.name: tier.model for tier in decider.fleet}
    stream = settings.resilience.stream
    store, mark = open_store(settings.cache), fingerprint(settings)
    exact = AnswerCache(store, settings.cache.ttl_s) if settings.cache.exact else None
    corpora = Corpora(settings, clients.embedding)
    guard = guard_of(settings.safety, clients)
    judges = partial(_judges, settings.safety, guard)
    checks = ChatPolicies(judges("chat", "input"), judges("chat", "output"))
    output = judges("rag", "output")
    pipeline = _pipeline(
        settings,
        clients,
        corpora,
        judges,
        memory=Memory(store, mark, settings.cache.ttl_s) if settings.cache.semantic else None,
        route=Route(routing),
        writer=Answer(
            Generate(generator, models, stream, output),
            settings.resilience.budget.generate_ms,
            output,
        ),
    )
    served = clients.by_service()
    chats = ChatPipeline(routing, generator, models, stream, checks)
    return Gateway(
        settings=settings,
        clients=clients,
        models=models,
        pipeline=pipeline,
        chat=chats,
        readiness=Readiness(
            served,
            drain,
            optional=frozenset(served),
            any_of=frozenset(BY_TIER[tier].name for tier in clients.tiers),
            may_sleep=clients.may_sleep,
        ),
        admission=AdmissionQueue(
            settings.limits.concurrency, settings.resilience.admission, pipeline.reserved_share
        ),
        drain=drain,
        providers=providers,
        ledger=ledger,
        store=store,
        replay=Replay(exact, mark) if exact else None,
        corpora=corpora,
        decisions=Decisions(
            pipeline.stream,
            FirstToken(chats.stream, models),
            clients.reranker,
            settings.reranker.model,
            frozenset(name for name, provider in providers.items() if provider.decides),
        ),
        guard=guard,
    )


def _pipeline(
    settings: Settings,
    clients: Clients,
    corpora: Corpora,
    judges: Callable[[Literal["rag", "chat"], Part], Judges],
    *,
    memory: Memory | None,
    route: Route,
    writer: Answer,
) -> RagPipeline:
    """The way of a question: its stages, in order."""
    budget = settings.resilience.budget
    question, passages = judges("rag", "input"), judges("rag", "passages")
    reads = {model.name: model.languages for model in catalog_of(settings.home).models}
    embedding: Embeds = clients.embedding
    if settings.cache.retrieval:
        embedding = KnownVectors(embedding, settings.cache.max_bytes)
    return RagPipeline(
        retrieval=(
            Embed(embedding, budget.embed_ms),
            Search(corpora.store, corpora.searcher, budget.search_ms),
            Rerank(clients.reranker, budget.rerank_ms),
            Widen(embedding, clients.reranker),
            *([Screen(passages)] if passages.needed else []),
            Evidence(
                embedding,
                clients.reranker,
                budget.evidence_ms,
                scored=reads.get(settings.reranker.model, frozenset()),
                written=_written(settings, reads),
            ),
            *([Recall(memory)] if memory else []),
        ),
        route=route,
        writer=writer,
        closing=(Cite(budget.cite_ms), *([Remember(memory)] if memory else [])),
        defaults=settings.rag,
        rest_ms=budget.rest_ms,
        check=CheckQuestion(question) if question.needed else None,
    )


def _judges(
    safety: SafetySettings, guard: Guard | None, route: Literal["rag", "chat"], part: Part
) -> Judges:
    """What judges that part of requests of a route, for every tenant."""
    tenants = {
        name: getattr(own, part)
        for name, its in safety.tenants.items()
        if (own := getattr(its, route)) is not None
    }
    return judges_of(part, getattr(getattr(safety, route), part), tenants, guard)


def guard_of(safety: SafetySettings, clients: Clients) -> Guard | None:
    """What asks the Safety service; None if it does not run."""
    if clients.safety is None:
        return None
    return Guard(
        clients.embedding, clients.safety, safety.false_positives, safety.timeout_ms / 1000
    )


def _written(settings: Settings, reads: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The languages that the LLMs read together; empty if one of them reads any."""
    of_tiers = [reads.get(tier.model, frozenset()) for tier in settings.tiers.values()]
    any_language = bool(settings.providers) or frozenset() in of_tiers
    return frozenset() if any_language else frozenset().union(*of_tiers)


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
