"""The pipeline of one question, stage by stage. `services/rag.py` builds it, `tiffin.api` calls it.

    passages -> embed -> vector search -> rerank -> prompt -> LLM tier -> citations
                      '-> route -----------------------^

Routing takes the query's embedding and runs beside search and rerank. A question makes four calls:
embed, route, rerank, generate. Each has its share of the deadline (`budget`) and a substitute for
when it fails or would come too late.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import msgspec

from models.values import GenerateRequest, TextDelta
from tiffin.config.requests import RagSettings
from tiffin.config.resilience import ResilienceSettings
from tiffin.core.context import RequestContext
from tiffin.core.errors import (
    DeadlineExceeded,
    FieldTooLarge,
    InvalidRequest,
    Overloaded,
    TiffinError,
    Unavailable,
)
from tiffin.core.messages import Array, RouteDecision, RouteRequest
from tiffin.core.values import (
    Document,
    RagDelta,
    RagEvent,
    RagRequest,
    RagSources,
    Route,
    Source,
)
from tiffin.pipeline.budget import Budget
from tiffin.pipeline.draft import Draft
from tiffin.pipeline.generate import Begun, Generator
from tiffin.pipeline.passages import Passage, split_documents
from tiffin.pipeline.prompt import rag_messages
from tiffin.pipeline.retrieve import AWAY, Retrieved, Retriever, Vector
from tiffin.pipeline.writing import Limits, pieces
from tiffin.routing import rules
from tiffin.routing.client import Router, checked
from tiffin.routing.meter import estimate_tokens
from tiffin.telemetry.timeline import Timeline


@dataclass(frozen=True)
class _Found:
    """What stands before the model is asked: evidence and the tier to ask."""

    retrieved: Retrieved
    decision: RouteDecision
    degraded: list[str]


@dataclass(frozen=True)
class RagPipeline:
    """Answers questions. Holds no state of a request; safe for any number at once.

    `models` maps each tier to its model's name, cheapest tier first.
    """

    retriever: Retriever
    router: Router
    generator: Generator
    models: Mapping[str, str]
    defaults: RagSettings
    resilience: ResilienceSettings = field(default_factory=ResilienceSettings)

    async def stream(
        self, request: RagRequest, context: RequestContext
    ) -> AsyncGenerator[RagEvent, None]:
        """Yield RagSources, RagDeltas and last the RagAnswer. Closing it stops the work.

        Raises DeadlineExceeded, which names the stages that ran, when nothing can be answered.
        """
        timeline = Timeline()
        try:
            async with aclosing(self._answer(request, context, timeline)) as events:
                async for event in events:
                    yield event
        except DeadlineExceeded as error:
            message = f"{error.message}; stages that ran: {timeline.ran() or 'none'}"
            raise DeadlineExceeded(message, code="deadline_exceeded") from error

    async def _answer(
        self, request: RagRequest, context: RequestContext, timeline: Timeline
    ) -> AsyncGenerator[RagEvent, None]:
        """The events of an answer, or of its substitute where the chosen tier cannot give one."""
        budget = Budget.of(context.deadline, self.resilience.budget)
        found = self._in_time(request, await self._find(request, context, timeline, budget), budget)
        answer_by = budget.until("generate")
        limits = Limits.of(context, answer_by, self.resilience.stream, streamed=request.stream)
        draft = Draft(request.query, found.retrieved.sources, found.degraded)
        with timeline.stage("generate"):
            try:
                async with aclosing(self._write(request, found, context, limits, draft)) as events:
                    async for event in events:
                        if isinstance(event, RagDelta):
                            timeline.first_token()
                        yield event
            except AWAY as error:
                for event in self._substitute(request, draft, context, error):
                    timeline.first_token()
                    yield event
        retrieved = found.retrieved
        yield draft.answer(context, timeline, retrieved.embedding_tokens, retrieved.rerank_tokens)

    async def _write(
        self,
        request: RagRequest,
        found: _Found,
        context: RequestContext,
        limits: Limits,
        draft: Draft,
    ) -> AsyncGenerator[RagEvent, None]:
        """The tier's events as ours; the draft takes them in."""
        draft.sources, begun = await self._begin(request, found, context, limits)
        draft.route = Route(
            tier=begun.tier, model=self.models[begun.tier], reason=found.decision.reason
        )
        if len(draft.sources) < len(found.retrieved.sources):
            draft.degraded.append("fewer_passages")
        if begun.tier != found.decision.tier:
            draft.degraded.append("tier")
        async with aclosing(pieces(begun, limits)) as events:
            yield RagSources(id=context.request_id, sources=draft.sources, route=draft.route)
            async for piece in events:
                draft.add(piece.event)
                if isinstance(piece.event, TextDelta):
                    yield RagDelta(text=piece.event.text)
        draft.check_whole()

    def _substitute(
        self, request: RagRequest, draft: Draft, context: RequestContext, error: TiffinError
    ) -> list[RagEvent]:
        """Make the draft whole without the model. Raises the error where that would not be honest.

        A stream that has begun ends with its error. What is written by the deadline of a whole
        answer is a shorter answer. A tier that refuses for lack of room is an overload, which the
        client must learn of; one that the request names has no substitute.
        """
        if draft.text and request.stream:
            raise error
        if draft.text and isinstance(error, DeadlineExceeded):
            draft.cut_off()
            return []
        overloaded = isinstance(error, Overloaded) and not isinstance(error, Unavailable)
        if overloaded or request.model in self.models:
            raise error
        draft.quote(error.message)
        sources = RagSources(id=context.request_id, sources=draft.sources, route=draft.route)
        return [sources, RagDelta(text=draft.text)]

    def _in_time(self, request: RagRequest, found: _Found, budget: Budget) -> _Found:
        """The cheapest tier in place of the chosen one, when little time is left to write."""
        cheapest = next(iter(self.models))
        if (
            request.model in self.models
            or found.decision.tier == cheapest
            or not budget.short("generate")
        ):
            return found
        decision = msgspec.structs.replace(found.decision, tier=cheapest, fallbacks=[])
        return replace(found, decision=decision, degraded=[*found.degraded, "smaller_tier"])

    async def _find(
        self, request: RagRequest, context: RequestContext, timeline: Timeline, budget: Budget
    ) -> _Found:
        """Retrieve and route, side by side; when one fails the other stops."""
        documents = [_document(item) for item in request.documents]
        passages = split_documents(documents)
        if not passages:
            message = "documents: nothing but white space"
            raise InvalidRequest(message, param="documents")
        top_n = request.top_n or self.defaults.top_n
        embedded: asyncio.Future[Vector | None] = asyncio.get_running_loop().create_future()
        ask = self._ask(request, passages, top_n)
        beside = msgspec.structs.replace(context, deadline=budget.until("rerank"))
        route = asyncio.create_task(self._route(ask, embedded, beside, timeline))
        try:
            retrieved = await self.retriever.retrieve(
                request.query,
                documents,
                passages,
                top_k=request.top_k or self.defaults.top_k,
                top_n=top_n,
                context=context,
                timeline=timeline,
                budget=budget,
                embedded=embedded,
            )
            decision, degraded = await route
        finally:
            route.cancel()
        return _Found(retrieved, decision, [*retrieved.degraded, *degraded])

    def _ask(self, request: RagRequest, passages: Sequence[Passage], top_n: int) -> RouteRequest:
        """What the router is asked; the prompt's length is that of the longest passages."""
        longest = sorted((len(passage.text) for passage in passages), reverse=True)[:top_n]
        return RouteRequest(
            request.query,
            request.model,
            prompt_tokens=estimate_tokens(len(request.query) + sum(longest)),
            max_tokens=request.max_tokens or self.defaults.max_answer_tokens,
            whole=not request.stream,
        )

    async def _route(
        self,
        ask: RouteRequest,
        embedded: "asyncio.Future[Vector | None]",
        context: RequestContext,
        timeline: Timeline,
    ) -> tuple[RouteDecision, list[str]]:
        """The router's decision; its rules applied here when it does not answer."""
        if len(self.models) > 1 and ask.model not in self.models:
            vector = await embedded
            if vector is not None:
                ask = msgspec.structs.replace(ask, vector=Array.of(vector))
        with timeline.stage("route"):
            try:
                decision = checked(await self.router.route(ask, context), self.models)
            except AWAY:
                return rules.decide(ask.query, ask.model, list(self.models)), ["router"]
            return decision, ["router"] if decision.degraded else []

    async def _begin(
        self, request: RagRequest, found: _Found, context: RequestContext, limits: Limits
    ) -> tuple[list[Source], Begun]:
        """The sources that the model was given, and the answer it began.

        Passages that do not fit the model's context are left out, the least relevant first.
        """
        sources = found.retrieved.sources
        context = limits.put_on(context)
        while True:
            prompt = GenerateRequest(
                messages=rag_messages(request.query, sources),
                max_tokens=request.max_tokens or self.defaults.max_answer_tokens,
                temperature=request.temperature,
                seed=request.seed,
            )
            try:
                return sources, await self.generator.begin(found.decision, prompt, context)
            except FieldTooLarge:
                if len(sources) == 1:
                    raise
                sources = sources[:-1]


def _document(item: str | Document) -> Document:
    return Document(text=item) if isinstance(item, str) else item
