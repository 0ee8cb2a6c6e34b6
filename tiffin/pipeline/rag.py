"""The pipeline of one question, stage by stage. `services/rag.py` builds it, `tiffin.api` calls it.

    passages -> embed -> vector search -> rerank -> prompt -> LLM tier -> citations
                      '-> route -----------------------^

Routing takes the query's embedding and runs beside search and rerank. A question makes four calls:
embed, route, rerank, generate.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import msgspec

from models.values import Finished, GenerateRequest, TextDelta, TokenEvent
from tiffin.context import RequestContext
from tiffin.errors import FieldTooLarge, InvalidRequest, Overloaded, UpstreamFailed
from tiffin.ops.settings import RagSettings
from tiffin.pipeline.cite import cite
from tiffin.pipeline.generate import Begun, Generator
from tiffin.pipeline.passages import Passage, split_documents
from tiffin.pipeline.prompt import rag_messages
from tiffin.pipeline.retrieve import Retrieved, Retriever, Vector
from tiffin.pipeline.timeline import Timeline
from tiffin.pipeline.values import (
    Cost,
    Document,
    RagAnswer,
    RagDelta,
    RagEvent,
    RagRequest,
    RagSources,
    Route,
    Source,
    Usage,
)
from tiffin.routing import rules
from tiffin.routing.bill import Bill
from tiffin.routing.meter import estimate_tokens
from tiffin.transport.messages import Array, RouteDecision, RouteRequest


class Router(Protocol):
    """What decides: `tiffin.routing.client.Routing`, or the Router service's client as it is."""

    async def route(self, request: RouteRequest, context: RequestContext) -> RouteDecision:
        """Which tier should answer, and which next."""
        ...


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

    async def stream(
        self, request: RagRequest, context: RequestContext
    ) -> AsyncGenerator[RagEvent, None]:
        """Yield RagSources, RagDeltas and last the RagAnswer. Closing it stops the work."""
        timeline = Timeline()
        found = await self._find(request, context, timeline)
        with timeline.stage("generate"):
            sources, begun = await self._begin(request, found, context)
            route = Route(
                tier=begun.tier, model=self.models[begun.tier], reason=found.decision.reason
            )
            text = ""
            finished: Finished | None = None
            async with aclosing(begun.rest) as rest:
                yield RagSources(id=context.request_id, sources=sources, route=route)
                event: TokenEvent | None = begun.first
                while event is not None:
                    if isinstance(event, TextDelta):
                        timeline.first_token()
                        text += event.text
                        yield RagDelta(text=event.text)
                    elif isinstance(event, Finished):
                        finished = event
                    event = await anext(rest, None)
        if finished is None:
            message = "the model ended without saying so"
            raise UpstreamFailed(message)
        yield RagAnswer(
            id=context.request_id,
            answer=text,
            citations=cite(text, sources),
            sources=sources,
            finish_reason=finished.reason,
            usage=_usage(finished, found.retrieved),
            timings=timeline.timings(),
            route=route,
            cost=_cost(context.bill),
            degraded=_degraded(found, sources, begun.tier),
        )

    async def _find(
        self, request: RagRequest, context: RequestContext, timeline: Timeline
    ) -> _Found:
        """Retrieve and route, side by side; when one fails the other stops."""
        documents = [_document(item) for item in request.documents]
        passages = split_documents(documents)
        if not passages:
            message = "documents: nothing but white space"
            raise InvalidRequest(message, param="documents")
        top_n = request.top_n or self.defaults.top_n
        embedded: asyncio.Future[Vector] = asyncio.get_running_loop().create_future()
        ask = self._ask(request, passages, top_n)
        route = asyncio.create_task(self._route(ask, embedded, context, timeline))
        try:
            retrieved = await self.retriever.retrieve(
                request.query,
                documents,
                passages,
                top_k=request.top_k or self.defaults.top_k,
                top_n=top_n,
                context=context,
                timeline=timeline,
                embedded=embedded,
            )
            decision, degraded = await route
        finally:
            route.cancel()
        return _Found(retrieved, decision, degraded)

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
        embedded: "asyncio.Future[Vector]",
        context: RequestContext,
        timeline: Timeline,
    ) -> tuple[RouteDecision, list[str]]:
        """The router's decision; its rules applied here when it does not answer."""
        if len(self.models) > 1 and ask.model not in self.models:
            vector = Array.of(await embedded)
            ask = msgspec.structs.replace(ask, vector=vector)
        with timeline.stage("route"):
            try:
                decision = await self.router.route(ask, context)
            except (Overloaded, UpstreamFailed):
                return rules.decide(ask.query, ask.model, list(self.models)), ["router"]
            return decision, ["router"] if decision.degraded else []

    async def _begin(
        self, request: RagRequest, found: _Found, context: RequestContext
    ) -> tuple[list[Source], Begun]:
        """The sources that the model was given, and the answer it began.

        Passages that do not fit the model's context are left out, the least relevant first.
        """
        sources = found.retrieved.sources
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


def _degraded(found: _Found, sources: list[Source], tier: str) -> list[str]:
    """What this answer was given without, in the order of the stages."""
    degraded = [*found.retrieved.degraded, *found.degraded]
    if len(sources) < len(found.retrieved.sources):
        degraded.append("fewer_passages")
    if tier != found.decision.tier:
        degraded.append("tier")
    return degraded


def _cost(bill: Bill) -> Cost:
    return Cost(
        usd=bill.usd,
        strongest_usd=bill.strongest_usd,
        attempts=len(bill.attempts),
        estimated=any(attempt.estimated for attempt in bill.attempts),
    )


def _usage(finished: Finished, retrieved: Retrieved) -> Usage:
    usage = finished.usage
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        embedding_tokens=retrieved.embedding_tokens,
        rerank_tokens=retrieved.rerank_tokens,
    )
