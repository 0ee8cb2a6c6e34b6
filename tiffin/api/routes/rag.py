"""The native route: a question and documents in, a cited answer out, whole or streamed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response
from msgspec.structs import replace

from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_rag_request
from tiffin.api.sse import STREAM, event_stream, first_awaited, frames
from tiffin.core.context import Deadline, RequestContext
from tiffin.core.errors import Unavailable, UpstreamFailed
from tiffin.core.values import RagAnswer, RagEvent, RagRequest
from tiffin.gateway import Gateway, work_of
from tiffin.routing.names import routed_name
from tiffin.telemetry import metrics
from tiffin.traffic.quota import charge

router = APIRouter(tags=["rag"], route_class=JsonRoute)


@router.post("/v1/rag", response_model=RagAnswer, responses=STREAM)
@router.post("/rag_query", response_model=RagAnswer, responses=STREAM)
async def rag_query(body: RagRequest, http: Request) -> Response:
    """Answer a question from the documents given with it.

    With `stream: true` the answer is a stream of server-sent events: `rag.sources`, any number of
    `rag.delta`, then `rag.answer` (the whole answer with citations), then `[DONE]`.
    """
    gateway, context = work_of(http)
    events = answer_events(body, gateway, context)
    if body.stream:
        return event_stream(frames(await first_awaited(events)))
    return model_answer(await whole_answer(events))


@router.post("/rag_stream", response_class=Response, responses=STREAM)
async def rag_stream(body: RagRequest, http: Request) -> Response:
    """`/rag_query` that always streams: the form that BentoML's clients call."""
    gateway, context = work_of(http)
    streamed = body.model_copy(update={"stream": True})
    return event_stream(frames(await first_awaited(answer_events(streamed, gateway, context))))


async def answer_events(
    body: RagRequest, gateway: Gateway, context: RequestContext
) -> AsyncGenerator[RagEvent, None]:
    """The pipeline's events for a request that is within its limits and finds a place."""
    check_rag_request(body, gateway.settings.limits)
    named = routed_name(body.model, gateway.models, gateway.settings.routing.policies)
    body = body.model_copy(update={"model": named})
    context = with_fields(context, body)
    if missing := gateway.readiness.missing():
        message = f"not ready: waiting for {', '.join(missing)}"
        raise Unavailable(message)
    with metrics.outcome():
        async with (
            gateway.admission.place(context, named),
            aclosing(gateway.pipeline.stream(body, context)) as events,
        ):
            async for event in events:
                if isinstance(event, RagAnswer):
                    metrics.observe(event)
                    charge(_tokens(event))
                yield event


def with_fields(context: RequestContext, body: RagRequest) -> RequestContext:
    """The context with what the body says over the headers."""
    if body.timeout_ms is not None:
        deadline = Deadline.after(body.timeout_ms / 1000)
        context = replace(context, deadline=deadline, deadline_named=True)
    if body.priority is not None:
        context = replace(context, batch=body.priority == "batch")
    return context


def _tokens(answer: RagAnswer) -> int:
    usage = answer.usage
    return usage.total_tokens + usage.embedding_tokens + usage.rerank_tokens


async def whole_answer(events: AsyncGenerator[RagEvent, None]) -> RagAnswer:
    """The last event. Read to the end: one that is closed before counts as abandoned."""
    answer: RagAnswer | None = None
    async with aclosing(events):
        async for event in events:
            if isinstance(event, RagAnswer):
                answer = event
    if answer is None:
        message = "the pipeline ended without an answer"
        raise UpstreamFailed(message)
    return answer
