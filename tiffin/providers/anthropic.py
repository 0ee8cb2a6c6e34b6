"""Tiers behind Anthropic's messages API, with its prompt caching."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import anthropic

from models.values import (
    ChatMessage,
    Finished,
    FinishReason,
    GenerateRequest,
    Image,
    TextDelta,
    TokenEvent,
    TokenUsage,
    ToolCallDelta,
)
from tiffin.config.routing import ProviderSettings
from tiffin.core.errors import InvalidRequest, TiffinError, UpstreamFailed
from tiffin.providers.base import Provider, http_client, system_of

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_STATUS_OF_TYPE = {
    "rate_limit_error": 429,
    "overloaded_error": 529,
    "api_error": 500,
    "timeout_error": 504,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
}
"""The status for each error type, because an error event of a stream carries none."""

_CACHED = {"cache_control": {"type": "ephemeral"}}


class AnthropicProvider(Provider):
    """Marks what repeats from call to call for the provider's cache.

    That is the tools, the system prompt and the turns of a longer conversation. A single question
    is not marked, because writing to the cache costs more than reading it once.
    """

    errors = (anthropic.AnthropicError,)
    ignores = ("presence_penalty", "frequency_penalty")

    def __init__(self, name: str, settings: ProviderSettings, api_key: str | None) -> None:
        super().__init__(name, settings)
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=settings.base_url or "https://api.anthropic.com",
            max_retries=0,
            http_client=http_client(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _events(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        stream = await self._client.messages.create(**self._body(request), stream=True)
        usage: dict[str, int] = {}
        reason: FinishReason | None = None
        calls: dict[int, int] = {}
        async with stream:
            async for event in stream:
                if event.type == "message_start":
                    usage |= _counts(event.message.usage)
                elif event.type == "message_delta":
                    usage |= _counts(event.usage)
                    reason = _REASONS.get(event.delta.stop_reason or "", "stop")
                elif event.type == "message_stop" and reason is not None:
                    yield Finished(reason, _usage(usage))
                elif (piece := _piece(event, calls)) is not None:
                    yield piece

    def _check(self, request: GenerateRequest) -> None:
        super()._check(request)
        # Our routes and OpenAI's clients send 0 or 1 if no one chose a value.
        if request.temperature not in {0, 1} or request.top_p != 1:
            param = "top_p" if request.temperature in {0, 1} else "temperature"
            raise self._lacks(param, "has no sampling parameters")
        if request.logprobs is not None:
            raise self._lacks("logprobs", "does not return them")
        self._check_detail(request)

    def _body(self, request: GenerateRequest) -> dict[str, Any]:
        turns = [turn for turn in request.messages if turn.role != "system"]
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self._answer_tokens(request),
            "messages": _messages(turns),
        }
        if system := system_of(request):
            body["system"] = [{"type": "text", "text": system, **_CACHED}]
        if request.stop:
            body["stop_sequences"] = request.stop
        if request.json_schema:
            body["output_config"] = {
                "format": {"type": "json_schema", "schema": request.json_schema}
            }
        return body | _tools(request)

    def _translate(self, error: Exception) -> TiffinError:
        match error:
            case anthropic.APIStatusError():
                status = error.status_code
                if status < 400:  # noqa: PLR2004  an error event in a stream that began well
                    status = _STATUS_OF_TYPE.get(_error_type(error.body), 500)
                return self._of_status(status, error.message, error.response.headers)
            case anthropic.APIConnectionError():
                return self._lost(error)
            case _:
                return UpstreamFailed(f"the {self.name} tier failed with an unknown error")


def _error_type(body: object) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("type")) if isinstance(error, dict) else ""


def _piece(event: Any, calls: dict[int, int]) -> TokenEvent | None:  # noqa: ANN401  a wide union
    """The text or tool call in an event; `calls` numbers the blocks that are tool calls."""
    if event.type == "content_block_start" and event.content_block.type == "tool_use":
        number = calls.setdefault(event.index, len(calls))
        return ToolCallDelta(number, "", event.content_block.id, event.content_block.name)
    if event.type == "content_block_delta":
        delta = event.delta
        if delta.type == "text_delta" and delta.text:
            return TextDelta(delta.text)
        if delta.type == "input_json_delta" and delta.partial_json:
            return ToolCallDelta(calls[event.index], delta.partial_json)
    return None


def _counts(usage: Any) -> dict[str, int]:  # noqa: ANN401  two types with the same fields
    names = (
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    )
    counts = {name: getattr(usage, name, None) for name in names}
    return {name: count for name, count in counts.items() if count is not None}


def _usage(counts: dict[str, int]) -> TokenUsage:
    """Anthropic counts cached tokens separately; we include them in the prompt's."""
    read = counts.get("cache_read_input_tokens", 0)
    written = counts.get("cache_creation_input_tokens", 0)
    return TokenUsage(
        prompt_tokens=counts.get("input_tokens", 0) + read + written,
        completion_tokens=counts.get("output_tokens", 0),
        cached_tokens=read,
        cache_write_tokens=written,
    )


def _messages(turns: list[ChatMessage]) -> list[dict[str, Any]]:
    """Turns as content blocks. The tool results of one step form one turn of the user."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        role = "assistant" if turn.role == "assistant" else "user"
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += _blocks(turn)
        else:
            messages.append({"role": role, "content": _blocks(turn)})
    if any(turn.role == "assistant" for turn in turns):
        messages[-1]["content"][-1] |= _CACHED
    return messages


def _blocks(turn: ChatMessage) -> list[dict[str, Any]]:
    if turn.role == "tool":
        return [{"type": "tool_result", "tool_use_id": turn.tool_call_id, "content": turn.content}]
    blocks: list[dict[str, Any]] = [_part(part) for part in turn.parts if part]
    if turn.content and not blocks:
        blocks.append({"type": "text", "text": turn.content})
    for call in turn.tool_calls:
        try:
            arguments = json.loads(call.arguments or "{}")
        except json.JSONDecodeError:
            message = f"messages: the arguments of the tool call {call.id!r} are not JSON"
            raise InvalidRequest(message, param="messages") from None
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return blocks


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if part.media_type is None:
        return {"type": "image", "source": {"type": "url", "url": part.data}}
    source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    return {"type": "image", "source": source}


def _tools(request: GenerateRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    tools: list[dict[str, Any]] = [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.parameters or {"type": "object", "properties": {}},
            **({"strict": True} if tool.strict else {}),
        }
        for tool in request.tools
    ]
    tools[-1] |= _CACHED
    choices = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}
    named = {"type": "tool", "name": request.tool_choice}
    choice: dict[str, Any] = {**choices.get(request.tool_choice, named)}
    if not request.parallel_tool_calls and request.tool_choice != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools, "tool_choice": choice}
