"""`/v1/messages` in Anthropic's shape, whole and streamed, and how many tokens one would read.

The same work as `/v1/chat/completions`, for clients and agents of the other API.
"""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

from fastapi import APIRouter, Request, Response

from models.values import GenerateRequest
from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_prompts
from tiffin.api.errors import anthropic_body, translate
from tiffin.api.generation import Begin, begin
from tiffin.api.images import check_seen
from tiffin.api.messages_input import conversation, generate_request, tools_of
from tiffin.api.messages_output import Event, MessageOutput
from tiffin.api.schemas.messages import CountRequest, MessageAnswer, MessagesRequest, TokenCount
from tiffin.api.sse import STREAM, event_stream
from tiffin.gateway import work_of

router = APIRouter(tags=["anthropic"], route_class=JsonRoute)


@router.post("/v1/messages", response_model=MessageAnswer, responses=STREAM)
async def messages(body: MessagesRequest, http: Request) -> Response:
    """Continue a conversation. With `stream: true`: events up to `message_stop`."""
    gateway, context = work_of(http)
    request = generate_request(body)
    check_prompts([request], gateway.settings.limits, "messages")
    if any(message.parts for message in request.messages):
        check_seen(request.messages, gateway.lane_of(body.model), gateway.settings)
    headers: dict[str, str] = {}
    start = partial(
        begin,
        gateway.write(body.model, [request], context, whole=not body.stream),
        request,
        context.bill,
        headers,
        prompt_field="messages",
        schema_field="output_config.format",
    )
    if body.stream:
        failed = partial(_error_frame, context.request_id)
        return event_stream(_frames(start, failed), headers, failed)
    generation = await start()
    output = MessageOutput(generation.head.model, generation.bill)
    async with aclosing(generation.pieces) as pieces:
        async for piece in pieces:
            for _ in output.add(piece.event):
                pass
    return model_answer(output.message, headers)


@router.post("/v1/messages/count_tokens", response_model=TokenCount)
async def count_tokens(body: CountRequest, http: Request) -> Response:
    """Count the tokens that these messages would be for the model."""
    gateway, context = work_of(http)
    request = GenerateRequest(messages=conversation(body), tools=tools_of(body.tools))
    check_prompts([request], gateway.settings.limits, "messages")
    tokens = await gateway.count_tokens(body.model, request, context)
    return model_answer(TokenCount(input_tokens=tokens))


async def _frames(begin: Begin, failed: Callable[[Exception], str]) -> AsyncGenerator[str, None]:
    """Named frames. A failure after the first ends them with the event `error`."""
    generation = await begin()
    output = MessageOutput(generation.head.model, generation.bill)
    async with aclosing(generation.pieces) as pieces:
        yield _frame(output.start())
        try:
            async for piece in pieces:
                for event in output.add(piece.event):
                    yield _frame(event)
        except Exception as error:  # noqa: BLE001  the status is sent: the frame must say it
            yield failed(error)


def _error_frame(request_id: str, error: Exception) -> str:
    return _frame(anthropic_body(translate(error), request_id))


def _frame(event: Event) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
