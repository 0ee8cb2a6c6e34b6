"""The pipeline of one question, stage by stage. `services/rag.py` builds it, `tiffin.api` calls it.

    passages -> embed -> vector search -> rerank -> prompt -> LLM tier -> citations
             -> route --------------------------------^

Routing runs beside retrieval. A question makes four calls: embed, route, rerank, generate.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from models.values import Finished, GenerateRequest, TextDelta, TokenEvent
from tiffin.context import RequestContext
from tiffin.errors import FieldTooLarge, InvalidRequest, Overloaded, UpstreamFailed
from tiffin.ops.settings import RagSettings
from tiffin.pipeline.cite import cite
from tiffin.pipeline.generate import Begun, Generator
from tiffin.pipeline.passages import split_documents
from tiffin.pipeline.prompt import rag_messages
from tiffin.pipeline.retrieve import Retrieved, Retriever
from tiffin.pipeline.timeline import Timeline
from tiffin.pipeline.values import (
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
from tiffin.transport.clients import RouterClient
from tiffin.transport.messages import RouteDecision, RouteRequest


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
    router: RouterClient
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
            degraded=_degraded(found, sources, begun.tier),
        )

    async def _find(
        self, request: RagRequest, context: RequestContext, timeline: Timeline
    ) -> _Found:
        """Retrieve and route, side by side; when one fails the other stops."""
        route = asyncio.create_task(self._route(request, context, timeline))
        try:
            retrieved = await self._retrieve(request, context, timeline)
            decision, degraded = await route
        finally:
            route.cancel()
        return _Found(retrieved, decision, degraded)

    async def _route(
        self, request: RagRequest, context: RequestContext, timeline: Timeline
    ) -> tuple[RouteDecision, list[str]]:
        """The router's decision; its rules applied here when it does not answer."""
        with timeline.stage("route"):
            try:
                asked = RouteRequest(request.query, request.model)
                return await self.router.route(asked, context), []
            except (Overloaded, UpstreamFailed):
                decision = rules.decide(request.query, request.model, list(self.models))
                return decision, ["router"]

    async def _retrieve(
        self, request: RagRequest, context: RequestContext, timeline: Timeline
    ) -> Retrieved:
        documents = [_document(item) for item in request.documents]
        passages = split_documents(documents)
        if not passages:
            message = "documents: nothing but white space"
            raise InvalidRequest(message, param="documents")
        return await self.retriever.retrieve(
            request.query,
            documents,
            passages,
            top_k=request.top_k or self.defaults.top_k,
            top_n=request.top_n or self.defaults.top_n,
            context=context,
            timeline=timeline,
        )

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
