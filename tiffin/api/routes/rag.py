"""The native route: a question and documents in, a cited answer out, whole or streamed."""

from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response

from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_rag_request
from tiffin.api.sse import STREAM, event_stream, frames
from tiffin.core.values import RagAnswer, RagEvent, RagRequest
from tiffin.gateway import whole_answer, work_of

router = APIRouter(tags=["rag"], route_class=JsonRoute)


@router.post("/v1/rag", response_model=RagAnswer, responses=STREAM)
@router.post("/rag_query", response_model=RagAnswer, responses=STREAM)
async def rag_query(body: RagRequest, http: Request) -> Response:
    """Answer a question from the documents given with it.

    With `stream: true` the answer is a stream of server-sent events: `rag.sources`, any number of
    `rag.delta`, then `rag.answer` (the whole answer with citations), then `[DONE]`.
    """
    if body.stream:
        return _stream(body, http)
    return model_answer(await whole_answer(_events(body, http)))


@router.post("/rag_stream", response_class=Response, responses=STREAM)
async def rag_stream(body: RagRequest, http: Request) -> Response:
    """`/rag_query` that always streams: the form that BentoML's clients call."""
    return _stream(body.model_copy(update={"stream": True}), http)


def _stream(body: RagRequest, http: Request) -> Response:
    return event_stream(frames(_events(body, http)))


def _events(body: RagRequest, http: Request) -> AsyncGenerator[RagEvent, None]:
    gateway, context = work_of(http)
    check_rag_request(body, gateway.settings.limits)
    return gateway.ask(body, context)
