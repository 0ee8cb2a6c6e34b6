"""Tiers behind OpenAI's chat completions: OpenAI itself, and every compatible server."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any

import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import Choice
from openai.types.chat.chat_completion_token_logprob import ChatCompletionTokenLogprob, TopLogprob

from models.values import (
    ChatMessage,
    Finished,
    FinishReason,
    GenerateRequest,
    Image,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    TokenUsage,
    ToolCallDelta,
)
from tiffin.config.routing import ProviderSettings
from tiffin.core.context import NO_USAGE
from tiffin.core.errors import TiffinError, UpstreamFailed
from tiffin.providers.base import Provider, http_client

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIProvider(Provider):
    """One tier. `api_key` is None if the server needs no key."""

    errors = (openai.OpenAIError,)
    decides = True

    def __init__(self, name: str, settings: ProviderSettings, api_key: str | None) -> None:
        super().__init__(name, settings)
        # OpenAI's newer models refuse `max_tokens`; most other servers know only that.
        official = settings.provider == "openai"
        self._max_tokens = "max_completion_tokens" if official else "max_tokens"
        self._takes_cache_keys = official
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none",
            base_url=settings.base_url or "https://api.openai.com/v1",
            max_retries=0,
            http_client=http_client(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _events(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        if request.decision is not None:
            for event in await self._decision(request.decision):
                yield event
            return
        stream = await self._client.chat.completions.create(**self._body(request), stream=True)
        reason: FinishReason | None = None
        usage = NO_USAGE
        async with stream:
            async for chunk in stream:
                _check_shape(chunk, self.name)
                usage = _usage(chunk.usage) if chunk.usage else usage
                for choice in chunk.choices:
                    for event in _deltas(choice):
                        yield event
                    if choice.finish_reason:
                        reason = _REASONS.get(choice.finish_reason, "stop")
        if reason is not None:
            yield Finished(reason, usage)

    async def _decision(self, asked: dict[str, Any]) -> list[TokenEvent]:
        """Its own answers as JSON text. Raises InvalidRequest where there are no decisions."""
        try:
            found = await self._client.decisions.create(**asked | {"model": self.model})
        except (openai.NotFoundError, openai.APIResponseValidationError) as error:
            raise self._lacks("decisions", "has no such route") from error
        usage = TokenUsage(
            prompt_tokens=found.usage.input_tokens,
            completion_tokens=found.usage.output_tokens,
            cached_tokens=found.usage.input_tokens_details.cached_tokens,
        )
        return [TextDelta(found.model_dump_json()), Finished("stop", usage)]

    def _body(self, request: GenerateRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(turn) for turn in request.messages],
            "stream_options": {"include_usage": True},
            self._max_tokens: self._answer_tokens(request),
            "temperature": request.temperature,
        }
        optional: dict[str, Any] = {
            "top_p": request.top_p if request.top_p != 1 else None,
            "presence_penalty": request.presence_penalty or None,
            "frequency_penalty": request.frequency_penalty or None,
            "stop": request.stop or None,
            "seed": request.seed,
            "prompt_cache_key": request.prompt_cache_key if self._takes_cache_keys else None,
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        if request.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        return body | _tools(request) | _format(request)

    def _translate(self, error: Exception) -> TiffinError:
        match error:
            case openai.APIStatusError():
                return self._of_status(error.status_code, error.message, error.response.headers)
            case openai.APIConnectionError():
                return self._lost(error)
            case _:
                return UpstreamFailed(f"the {self.name} tier failed with an unknown error")


def _check_shape(chunk: object, tier: str) -> None:
    """Refuse a chunk of another shape, because the SDK does not validate what it parses."""
    if not isinstance(chunk, ChatCompletionChunk) or not isinstance(chunk.choices, list):
        raise UpstreamFailed(f"the {tier} tier's answer has an unknown shape")


def _deltas(choice: Choice) -> list[TokenEvent]:
    events: list[TokenEvent] = []
    if choice.delta.content:
        entries = (choice.logprobs.content or []) if choice.logprobs else []
        logprobs = [_logprob(entry, entry.top_logprobs) for entry in entries]
        events.append(TextDelta(choice.delta.content, logprobs))
    for call in choice.delta.tool_calls or []:
        function = call.function
        arguments = (function.arguments or "") if function else ""
        name = function.name if function else None
        events.append(ToolCallDelta(call.index, arguments, call.id, name))
    return events


def _logprob(
    token: ChatCompletionTokenLogprob | TopLogprob, others: Iterable[TopLogprob] = ()
) -> TokenLogprob:
    top = [_logprob(other) for other in others]
    return TokenLogprob(token.token, token.logprob, token.bytes or [], top)


def _usage(usage: CompletionUsage) -> TokenUsage:
    details = usage.prompt_tokens_details
    return TokenUsage(
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
    )


def _message(turn: ChatMessage) -> dict[str, Any]:
    content = [_part(part) for part in turn.parts] or turn.content
    message: dict[str, Any] = {"role": turn.role, "content": content}
    if turn.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in turn.tool_calls
        ]
    if turn.tool_call_id is not None:
        message["tool_call_id"] = turn.tool_call_id
    return message


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = f"data:{part.media_type};base64,{part.data}" if part.media_type else part.data
    return {"type": "image_url", "image_url": {"url": url, "detail": part.detail}}


def _tools(request: GenerateRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    named = {"type": "function", "function": {"name": request.tool_choice}}
    keyword = request.tool_choice in {"auto", "none", "required"}
    return {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                    **({"strict": True} if tool.strict else {}),
                },
            }
            for tool in request.tools
        ],
        "tool_choice": request.tool_choice if keyword else named,
        **({} if request.parallel_tool_calls else {"parallel_tool_calls": False}),
    }


def _format(request: GenerateRequest) -> dict[str, Any]:
    if request.json_schema is None:
        return {}
    if not request.json_schema:
        return {"response_format": {"type": "json_object"}}
    schema: dict[str, Any] = {"name": "answer", "schema": request.json_schema}
    if request.strict_schema:
        schema["strict"] = True
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
