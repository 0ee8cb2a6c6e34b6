"""`/v1/responses`: input items in, output items out, whole or as OpenAI's named events.

Stateless: the client keeps the conversation and sends all of it.
"""

import json
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import fastapi
from fastapi import APIRouter, Request

from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_prompts, check_query
from tiffin.api.errors import translate
from tiffin.api.file_search import (
    file_search_of,
    ids_of,
    note_degraded,
    question_of,
    rag_request,
    temperature_of,
)
from tiffin.api.generation import Begin, begin
from tiffin.api.responses_input import generate_request
from tiffin.api.responses_output import Output
from tiffin.api.schemas.file_search import FileSearchTool
from tiffin.api.schemas.responses import (
    ResponsesRequest,
    TextOptions,
)
from tiffin.api.schemas.responses_answer import Response, ResponseEvent
from tiffin.api.search_output import SearchOutput
from tiffin.api.sse import STREAM, event_stream
from tiffin.core.error_body import error_body
from tiffin.core.values import RagAnswer, RagSources
from tiffin.gateway import work_of
from tiffin.pipeline.moderated import Moderated

router = APIRouter(tags=["openai"], route_class=JsonRoute)


@dataclass(frozen=True)
class _Answering:
    """An answer that has begun. Each step gives the events of a piece, which `output` takes in."""

    output: Output
    steps: AsyncGenerator[Iterator[ResponseEvent], None]


@router.post("/v1/responses", response_model=Response, responses=STREAM)
async def responses(body: ResponsesRequest, http: Request) -> fastapi.Response:
    """Answer. With `stream: true`: events from `response.created` to `response.completed`.

    With the tool `file_search` the answer comes from vector stores, and cites them.
    """
    gateway, context = work_of(http)
    headers: dict[str, str] = {}
    if (tool := file_search_of(body)) is not None:
        start = partial(_searched, body, tool, http, headers)
    else:
        request = generate_request(body)
        check_prompts([request], gateway.settings.limits, "input")
        asked = body.moderation
        moderated = gateway.moderated(asked.blocks(), context) if asked else None
        write = partial(gateway.write, body.model, [request], context, whole=not body.stream)
        generate = partial(
            begin,
            write(cache=body.cache, moderated=moderated),
            request,
            context.bill,
            headers,
            prompt_field="input",
            schema_field="text.format",
            limit_field="max_output_tokens",
        )
        start = partial(_written, body, generate, moderated)
    if body.stream:
        return event_stream(_frames(start), headers, _error_frame)
    answering = await start()
    deque(answering.output.start(), maxlen=0)
    async with aclosing(answering.steps) as steps:
        async for events in steps:
            deque(events, maxlen=0)
    return model_answer(answering.output.response, headers)


async def _written(
    body: ResponsesRequest, generate: Begin, moderated: Moderated | None
) -> _Answering:
    """What a model writes, once it has begun."""
    generation = await generate()
    temperature = 1.0 if body.temperature is None else body.temperature
    opened = _opened(body, generation.head.model, temperature, generation.created)
    output = Output(opened, generation.bill, moderated.said if moderated else None)

    async def steps() -> AsyncGenerator[Iterator[ResponseEvent], None]:
        async with aclosing(generation.pieces) as written:
            async for piece in written:
                yield output.add(piece.event)

    return _Answering(output, steps())


async def _searched(
    body: ResponsesRequest, tool: FileSearchTool, http: Request, headers: dict[str, str]
) -> _Answering:
    """What the pipeline answers from vector stores, once it knows from which passages."""
    gateway, context = work_of(http)
    question, unread = question_of(body)
    check_query(question, gateway.settings.limits, "input")
    store, named = gateway.corpora.store, tool.vector_store_ids
    ids = await store.ask(ids_of, store, context.tenant, named)
    request = rag_request(body, tool, question, ids, gateway.settings.rag.top_k)
    found = gateway.ask(request, context)
    first = await anext(found)
    assert isinstance(first, RagSources)  # noqa: S101  the pipeline's first event, by its contract
    opened = _opened(body, first.route.model, temperature_of(body), int(time.time()))
    results = "file_search_call.results" in (body.include or ())
    output = SearchOutput(opened, context.bill, question, with_results=results)
    note_degraded(headers, unread)

    async def steps() -> AsyncGenerator[Iterator[ResponseEvent], None]:
        async with aclosing(found) as events:
            yield output.add_found(first)
            async for event in events:
                if isinstance(event, RagAnswer):
                    note_degraded(headers, [*unread, *event.degraded])
                yield output.add_found(event)

    return _Answering(output, steps())


def _opened(body: ResponsesRequest, model: str, temperature: float, created: int) -> Response:
    """The response before its first word; it repeats what was asked."""
    return Response(
        id=f"resp_{secrets.token_hex(16)}",
        created_at=created,
        status="in_progress",
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        metadata=body.metadata or {},
        model=model,
        output=[],
        parallel_tool_calls=body.parallel_tool_calls is not False,
        temperature=temperature,
        text=body.text or TextOptions(),
        tool_choice=body.tool_choice or "auto",
        tools=body.tools or [],
        top_logprobs=body.top_logprobs or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
        user=body.user,
    )


async def _frames(start: Callable[[], Awaitable[_Answering]]) -> AsyncGenerator[str, None]:
    """Named frames. A failure ends them with the event `error`, which has our body too."""
    answering = await start()
    output = answering.output
    async with aclosing(answering.steps) as steps:
        try:
            for event in output.start():
                yield _event_frame(event)
            async for events in steps:
                for event in events:
                    yield _event_frame(event)
        except Exception as error:  # noqa: BLE001  the status is sent: the frame must say it
            yield _error_frame(error, output.next_number())


def _event_frame(event: ResponseEvent) -> str:
    return _frame(event.type, event.model_dump_json(ensure_ascii=True, by_alias=True))


def _error_frame(error: Exception, number: int = 0) -> str:
    body = error_body(translate(error))
    frame = {"type": "error", "sequence_number": number, **body["error"], **body}
    frame["type"] = "error"
    return _frame("error", json.dumps(frame))


def _frame(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
