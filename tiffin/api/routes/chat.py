"""`/v1/chat/completions`: a conversation in, its next turn out, whole or streamed."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from fastapi import APIRouter, Request, Response
from msgspec import structs

from models.values import (
    ChatMessage,
    Finished,
    FinishReason,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    ToolCall,
    ToolCallDelta,
)
from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_prompts
from tiffin.api.generation import Begin, Generation, begin
from tiffin.api.images import check_seen, parts_of
from tiffin.api.moderation import of_chat
from tiffin.api.schemas.chat import (
    AnsweredCall,
    AnswerMessage,
    CallDelta,
    CalledFunction,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    FunctionDelta,
    ImagePart,
    Logprobs,
    Message,
    NamedTool,
)
from tiffin.api.schemas.logprobs import Logprob
from tiffin.api.schemas.openai import (
    check_stream_options,
    chosen_tool,
    seed_of,
    stops,
    usage_of,
)
from tiffin.api.sse import STREAM, event_stream, frames
from tiffin.core.errors import InvalidRequest
from tiffin.gateway import work_of
from tiffin.pipeline.moderated import Moderated
from tiffin.pipeline.writing import Piece

router = APIRouter(tags=["openai"], route_class=JsonRoute)


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=STREAM)
async def chat_completions(body: ChatRequest, http: Request) -> Response:
    """Continue a conversation. With `stream: true`: `chat.completion.chunk`s, then `[DONE]`."""
    gateway, context = work_of(http)
    request = generate_request(body)
    check_prompts([request], gateway.settings.limits, "messages")
    if any(message.parts for message in request.messages):
        check_seen(request.messages, gateway.lane_of(body.model), gateway.settings)
    requests = [request] if body.n in (None, 1) else _choices(request, body)
    moderated = gateway.moderated(body.moderation.blocks(), context) if body.moderation else None
    headers: dict[str, str] = {}
    start = partial(
        begin,
        gateway.write(
            body.model,
            requests,
            context,
            whole=not body.stream,
            cache=body.cache,
            moderated=moderated,
        ),
        request,
        context.bill,
        headers,
        prompt_field="messages",
        schema_field="response_format",
        limit_field="max_tokens" if body.max_completion_tokens is None else "max_completion_tokens",
    )
    completion_id = f"chatcmpl-{secrets.token_hex(16)}"
    if body.stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        chunks = _chunks(completion_id, start, len(requests), moderated, with_usage=usage)
        return event_stream(frames(chunks), headers)
    answer = await _whole(completion_id, await start(), len(requests), moderated)
    return model_answer(answer, headers)


def generate_request(body: ChatRequest) -> GenerateRequest:
    """What the engine is asked. Raises InvalidRequest for fields that do not go together."""
    if body.top_logprobs is not None and not body.logprobs:
        raise InvalidRequest("top_logprobs: needs logprobs: true", param="top_logprobs")
    check_stream_options(body.stream_options, stream=body.stream)
    limit = body.max_completion_tokens
    return GenerateRequest(
        messages=[_message(message, index) for index, message in enumerate(body.messages)],
        max_tokens=body.max_tokens if limit is None else limit,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        stop=stops(body.stop),
        seed=seed_of(body.seed),
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        tools=[tool.function.tool() for tool in body.tools or ()],
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        json_schema=body.response_format.constraint() if body.response_format else None,
        strict_schema=bool(body.response_format and body.response_format.strict),
        ignore_eos=_ignores_end(body),
        prompt_cache_key=body.prompt_cache_key,
    )


def _ignores_end(body: ChatRequest) -> bool:
    if body.ignore_eos and (body.tools or body.response_format):
        message = "ignore_eos: an answer with tools or a response_format ends where these say"
        raise InvalidRequest(message, param="ignore_eos")
    return bool(body.ignore_eos)


def _message(message: Message, index: int) -> ChatMessage:
    param = f"messages[{index}]"
    content = message.content
    parts = parts_of(message, param)
    if isinstance(content, list):
        content = "\n".join(part.text for part in content if not isinstance(part, ImagePart))
    calls = [
        ToolCall(call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or ()
    ]
    if message.role == "tool" and message.tool_call_id is None:
        name = f"{param}.tool_call_id"
        raise InvalidRequest(f"{name}: needed in the turn of a tool", param=name)
    if calls and message.role != "assistant":
        name = f"{param}.tool_calls"
        raise InvalidRequest(f"{name}: only an assistant calls tools", param=name)
    if content is None and not (message.role == "assistant" and (calls or message.refusal)):
        name = f"{param}.content"
        raise InvalidRequest(f"{name}: needed in this turn", param=name)
    role = "system" if message.role == "developer" else message.role
    return ChatMessage(role, content or message.refusal or "", calls, message.tool_call_id, parts)


def _tool_choice(body: ChatRequest) -> str:
    names = [tool.function.name for tool in body.tools or ()]
    if isinstance(body.tool_choice, NamedTool):
        return chosen_tool(None, body.tool_choice.function.name, names)
    return chosen_tool(body.tool_choice, None, names)


def _choices(request: GenerateRequest, body: ChatRequest) -> list[GenerateRequest]:
    return [
        structs.replace(request, seed=seed_of(body.seed, choice)) for choice in range(body.n or 1)
    ]


class _Answer:
    """One choice as it comes together."""

    def __init__(self) -> None:
        self.text = ""
        self.calls: list[AnsweredCall] = []
        self.logprobs: list[Logprob] = []
        self.reason: FinishReason = "stop"

    def add(self, event: TokenEvent) -> None:
        """Take the next event."""
        if isinstance(event, Finished):
            self.reason = event.reason
        elif isinstance(event, TextDelta):
            self.text += event.text
            self.logprobs += map(Logprob.of, event.logprobs)
        elif event.id is not None:
            function = CalledFunction(name=event.name or "", arguments=event.arguments)
            self.calls.append(AnsweredCall(id=event.id, function=function))
        else:
            call = self.calls[event.index]
            arguments = call.function.arguments + event.arguments
            function = CalledFunction(name=call.function.name, arguments=arguments)
            self.calls[event.index] = AnsweredCall(id=call.id, function=function)

    def choice(self, index: int) -> Choice:
        """As the client gets it."""
        content = None if self.calls and not self.text else self.text
        return Choice(
            index=index,
            message=AnswerMessage(content=content, tool_calls=self.calls or None),
            logprobs=Logprobs(content=self.logprobs) if self.logprobs else None,
            finish_reason=self.reason,
        )


async def _whole(
    completion_id: str, generation: Generation, choices: int, moderated: Moderated | None
) -> ChatCompletion:
    answers = [_Answer() for _ in range(choices)]
    async with aclosing(generation.pieces) as pieces:
        async for piece in pieces:
            answers[piece.index].add(piece.event)
    return ChatCompletion(
        id=completion_id,
        created=generation.created,
        model=generation.head.model,
        choices=[answer.choice(index) for index, answer in enumerate(answers)],
        moderation=of_chat(moderated.said()) if moderated else None,
        usage=usage_of(generation.usages, generation.bill.usd, choices),
    )


async def _chunks(
    completion_id: str,
    begin: Begin,
    choices: int,
    moderated: Moderated | None,
    *,
    with_usage: bool,
) -> AsyncGenerator[ChatChunk, None]:
    """One chunk an event, after one for each choice that opens its message."""
    generation = await begin()

    def chunk(*choices: ChunkChoice) -> ChatChunk:
        return ChatChunk(
            id=completion_id,
            created=generation.created,
            model=generation.head.model,
            choices=list(choices),
        )

    async with aclosing(generation.pieces) as pieces:
        for index in range(choices):
            yield chunk(ChunkChoice(index=index, delta=Delta(role="assistant", content="")))
        async for piece in pieces:
            yield chunk(_chunk_choice(piece))
    if moderated is not None:
        yield chunk().model_copy(update={"moderation": of_chat(moderated.said())})
    if with_usage:
        usage = usage_of(generation.usages, generation.bill.usd, choices)
        yield chunk().model_copy(update={"usage": usage})


def _chunk_choice(piece: Piece) -> ChunkChoice:
    event = piece.event
    match event:
        case TextDelta():
            logprobs = Logprobs(content=[Logprob.of(token) for token in event.logprobs])
            return ChunkChoice(
                index=piece.index,
                delta=Delta(content=event.text),
                logprobs=logprobs if event.logprobs else None,
            )
        case ToolCallDelta():
            call = CallDelta(
                index=event.index,
                id=event.id,
                type="function" if event.id else None,
                function=FunctionDelta(name=event.name, arguments=event.arguments),
            )
            return ChunkChoice(index=piece.index, delta=Delta(tool_calls=[call]))
        case Finished():
            return ChunkChoice(index=piece.index, delta=Delta(), finish_reason=event.reason)
