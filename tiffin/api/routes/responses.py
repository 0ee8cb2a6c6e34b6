"""`/v1/responses`: input items in, output items out, whole or as OpenAI's named events.

Stateless: the client keeps the conversation and sends all of it.
"""

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import fastapi
from fastapi import APIRouter, Request

from models.values import ChatMessage, GenerateRequest, ToolCall
from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_prompts
from tiffin.api.errors import translate
from tiffin.api.generation import Begin, Generation, begin
from tiffin.api.responses_output import Output
from tiffin.api.schemas.openai import chosen_tool
from tiffin.api.schemas.responses import (
    InputCall,
    InputCallOutput,
    InputMessage,
    InputReasoning,
    InputReference,
    NamedFunction,
    ResponsesRequest,
    TextContent,
    TextOptions,
)
from tiffin.api.schemas.responses_answer import Response
from tiffin.api.sse import STREAM, event_stream
from tiffin.core.error_body import error_body
from tiffin.core.errors import InvalidRequest
from tiffin.gateway import work_of
from tiffin.pipeline.moderated import Moderated

router = APIRouter(tags=["openai"], route_class=JsonRoute)

LOGPROBS = "message.output_text.logprobs"


@router.post("/v1/responses", response_model=Response, responses=STREAM)
async def responses(body: ResponsesRequest, http: Request) -> fastapi.Response:
    """Answer. With `stream: true`: events from `response.created` to `response.completed`."""
    gateway, context = work_of(http)
    request = generate_request(body)
    check_prompts([request], gateway.settings.limits, "input")
    moderated = gateway.moderated(body.moderation.blocks(), context) if body.moderation else None
    headers: dict[str, str] = {}
    start = partial(
        begin,
        gateway.write(
            body.model,
            [request],
            context,
            whole=not body.stream,
            cache=body.cache,
            moderated=moderated,
        ),
        request,
        context.bill,
        headers,
        prompt_field="input",
        schema_field="text.format",
        limit_field="max_output_tokens",
    )
    if body.stream:
        return event_stream(_frames(body, start, moderated), headers, _error_frame)
    generation = await start()
    output = Output(
        _opened(body, generation), generation.bill, moderated.said if moderated else None
    )
    async with aclosing(generation.pieces) as pieces:
        async for piece in pieces:
            for _ in output.add(piece.event):
                pass
    return model_answer(output.response, headers)


def generate_request(body: ResponsesRequest) -> GenerateRequest:
    """What the engine is asked. Raises InvalidRequest for fields that do not go together."""
    text = body.text or TextOptions()
    wanted = body.top_logprobs is not None or LOGPROBS in (body.include or ())
    return GenerateRequest(
        messages=_messages(body),
        max_tokens=body.max_output_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        logprobs=(body.top_logprobs or 0) if wanted else None,
        tools=[tool.tool() for tool in body.tools or ()],
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        json_schema=text.format.constraint(),
        strict_schema=bool(text.format.strict),
    )


def _messages(body: ResponsesRequest) -> list[ChatMessage]:
    messages = [ChatMessage("system", body.instructions)] if body.instructions else []
    if isinstance(body.input, str):
        return [*messages, ChatMessage("user", body.input)]
    for item in body.input:
        if isinstance(item, InputReasoning | InputReference):
            continue  # no reference gets past the body's check
        turn = _turn(item)
        last = messages[-1] if messages else None
        if turn.tool_calls and last is not None and last.role == "assistant":
            # The text and the calls of one turn are several items.
            calls = [*last.tool_calls, *turn.tool_calls]
            messages[-1] = ChatMessage("assistant", last.content, calls)
        else:
            messages.append(turn)
    if not messages:
        raise InvalidRequest("input: there is no turn in it to answer", param="input")
    return messages


def _turn(item: InputMessage | InputCall | InputCallOutput) -> ChatMessage:
    if isinstance(item, InputCall):
        return ChatMessage("assistant", "", [ToolCall(item.call_id, item.name, item.arguments)])
    if isinstance(item, InputCallOutput):
        return ChatMessage("tool", _text(item.output), [], item.call_id)
    return ChatMessage("system" if item.role == "developer" else item.role, _text(item.content))


def _text(content: str | list[TextContent]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text or part.refusal or "" for part in content)


def _tool_choice(body: ResponsesRequest) -> str:
    names = [tool.name for tool in body.tools or ()]
    if isinstance(body.tool_choice, NamedFunction):
        return chosen_tool(None, body.tool_choice.name, names)
    return chosen_tool(body.tool_choice, None, names)


def _opened(body: ResponsesRequest, generation: Generation) -> Response:
    """The response before its first word; it repeats what was asked."""
    return Response(
        id=f"resp_{secrets.token_hex(16)}",
        created_at=generation.created,
        status="in_progress",
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        metadata=body.metadata or {},
        model=generation.head.model,
        output=[],
        parallel_tool_calls=body.parallel_tool_calls is not False,
        temperature=1.0 if body.temperature is None else body.temperature,
        text=body.text or TextOptions(),
        tool_choice=body.tool_choice or "auto",
        tools=body.tools or [],
        top_logprobs=body.top_logprobs or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
        user=body.user,
    )


async def _frames(
    body: ResponsesRequest, begin: Begin, moderated: Moderated | None
) -> AsyncGenerator[str, None]:
    """Named frames. A failure ends them with the event `error`, which has our body too."""
    generation = await begin()
    output = Output(
        _opened(body, generation), generation.bill, moderated.said if moderated else None
    )
    async with aclosing(generation.pieces) as pieces:
        try:
            for event in output.start():
                yield _frame(event.type, event.model_dump_json(ensure_ascii=True, by_alias=True))
            async for piece in pieces:
                for event in output.add(piece.event):
                    data = event.model_dump_json(ensure_ascii=True, by_alias=True)
                    yield _frame(event.type, data)
        except Exception as error:  # noqa: BLE001  the status is sent: the frame must say it
            yield _error_frame(error, output.next_number())


def _error_frame(error: Exception, number: int = 0) -> str:
    body = error_body(translate(error))
    frame = {"type": "error", "sequence_number": number, **body["error"], **body}
    frame["type"] = "error"
    return _frame("error", json.dumps(frame))


def _frame(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
