"""The native route: a question and documents in, a cited answer out, whole or streamed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from tiffin.api.context import context_of
from tiffin.api.limits import check_rag_request
from tiffin.api.sse import MEDIA_TYPE, event_stream
from tiffin.api.state import Gateway, gateway_of
from tiffin.context import RequestContext
from tiffin.errors import NotFound, Unavailable, UpstreamFailed
from tiffin.ops import metrics
from tiffin.pipeline.values import RagAnswer, RagEvent, RagRequest

router = APIRouter(tags=["rag"])

_EVENTS: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string"}}}

GatewayOf = Annotated[Gateway, Depends(gateway_of)]
ContextOf = Annotated[RequestContext, Depends(context_of)]


@router.post("/rag_query", response_model=RagAnswer, responses={200: {"content": _EVENTS}})
async def rag_query(
    body: RagRequest, gateway: GatewayOf, context: ContextOf
) -> Response | RagAnswer:
    """Answer a question from the documents given with it.

    With `stream: true` the answer is a stream of server-sent events: `rag.sources`, any number of
    `rag.delta`, then `rag.answer` (the whole answer with citations), then `[DONE]`.
    """
    events = answer_events(body, gateway, context)
    return await event_stream(events) if body.stream else await whole_answer(events)


@router.post("/rag_stream", response_class=Response, responses={200: {"content": _EVENTS}})
async def rag_stream(body: RagRequest, gateway: GatewayOf, context: ContextOf) -> Response:
    """`/rag_query` that always streams: the form that BentoML's clients call."""
    return await event_stream(answer_events(body, gateway, context))


async def answer_events(
    body: RagRequest, gateway: Gateway, context: RequestContext
) -> AsyncGenerator[RagEvent, None]:
    """The pipeline's events for a request that is within its limits and finds a place."""
    check_rag_request(body, gateway.settings.limits)
    allowed = [*gateway.settings.routing.policies, *gateway.pipeline.models]
    if body.model not in allowed:
        message = f"model: no tier {body.model!r} is served here; use one of: {', '.join(allowed)}"
        raise NotFound(message, param="model", code="model_not_found")
    if missing := gateway.readiness.missing():
        message = f"not ready: waiting for {', '.join(missing)}"
        raise Unavailable(message)
    with metrics.outcome(), gateway.admission.place():
        async with aclosing(gateway.pipeline.stream(body, context)) as events:
            async for event in events:
                if isinstance(event, RagAnswer):
                    metrics.observe(event)
                yield event


async def whole_answer(events: AsyncGenerator[RagEvent, None]) -> RagAnswer:
    """The last event, once it has come."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, RagAnswer):
                return event
    message = "the pipeline ended without an answer"
    raise UpstreamFailed(message)
