"""Tiers behind Google's Gemini API."""

import base64
import json
import math
from collections.abc import AsyncGenerator
from typing import Any

from google import genai
from google.genai import errors, types

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
from tiffin.core.context import NO_USAGE
from tiffin.core.errors import InvalidRequest, TiffinError, UpstreamFailed
from tiffin.providers.base import Provider, http_client, system_of

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


class GoogleProvider(Provider):
    """Tool calls arrive whole. They are numbered, because they may arrive without an id."""

    errors = (errors.APIError, errors.UnknownApiResponseError)

    def __init__(self, name: str, settings: ProviderSettings, api_key: str | None) -> None:
        super().__init__(name, settings)
        self._http = http_client()
        self._client = genai.Client(
            api_key=api_key,
            http_options=types.HttpOptions(
                base_url=settings.base_url, httpx_async_client=self._http
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aio.aclose()
        await self._http.aclose()

    async def _events(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        contents, config = self._body(request)
        stream = await self._client.aio.models.generate_content_stream(
            model=self.model, contents=contents, config=config
        )
        reason: FinishReason | None = None
        usage = NO_USAGE
        calls = 0
        async for chunk in stream:
            if chunk.usage_metadata is not None:
                usage = _usage(chunk.usage_metadata)
            if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
                reason = "content_filter"
            for candidate in chunk.candidates or []:
                for part in (candidate.content.parts or []) if candidate.content else []:
                    event = _event(part, calls)
                    # Google has no parameter for at most one call.
                    most = math.inf if request.parallel_tool_calls else 1
                    calls += isinstance(event, ToolCallDelta)
                    if event is not None and (calls <= most or isinstance(event, TextDelta)):
                        yield event
                if candidate.finish_reason is not None:
                    reason = _reason(candidate.finish_reason, calls)
        if reason is not None:
            yield Finished(reason, usage)

    def _body(
        self, request: GenerateRequest
    ) -> tuple[list[types.ContentUnionDict], types.GenerateContentConfig]:
        config: dict[str, Any] = {
            "max_output_tokens": self._answer_tokens(request),
            "temperature": request.temperature,
            "automatic_function_calling": {"disable": True},
            "system_instruction": system_of(request) or None,
            "top_p": request.top_p if request.top_p != 1 else None,
            "presence_penalty": request.presence_penalty or None,
            "frequency_penalty": request.frequency_penalty or None,
            "stop_sequences": request.stop or None,
            "seed": request.seed,
        }
        if request.json_schema is not None:
            config["response_mime_type"] = "application/json"
            config["response_json_schema"] = request.json_schema or None
        config |= _tools(request)
        return _contents(request.messages), types.GenerateContentConfig.model_validate(config)

    def _check(self, request: GenerateRequest) -> None:
        super()._check(request)
        if request.logprobs is not None:
            raise self._lacks("logprobs", "does not stream them")
        self._check_detail(request)
        if any(image.media_type is None for turn in request.messages for image in turn.images):
            what = "fetches no URL: send a data: URL"
            raise self._lacks("image_url", what, param="messages")

    def _translate(self, error: Exception) -> TiffinError:
        if isinstance(error, errors.APIError):
            headers = getattr(error.response, "headers", None) or {}
            return self._of_status(error.code, error.message or "", headers)
        return UpstreamFailed(f"the {self.name} tier's answer has an unknown shape")


def _event(part: types.Part, number: int) -> TokenEvent | None:
    if part.function_call is not None:
        call = part.function_call
        arguments = json.dumps(call.args or {})
        return ToolCallDelta(number, arguments, call.id or f"call_{number}", call.name)
    if part.text and not part.thought:
        return TextDelta(part.text)
    return None


def _reason(reason: types.FinishReason, calls: int) -> FinishReason:
    if calls:
        return "tool_calls"
    match reason.name:
        case "STOP":
            return "stop"
        case "MAX_TOKENS":
            return "length"
        case _:
            return "content_filter"


def _usage(usage: types.GenerateContentResponseUsageMetadata) -> TokenUsage:
    """The tokens to bill: thoughts count as output, tool prompts as input."""
    prompt = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
    return TokenUsage(
        prompt_tokens=prompt,
        completion_tokens=(usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
        cached_tokens=usage.cached_content_token_count or 0,
    )


def _contents(turns: list[ChatMessage]) -> list[types.ContentUnionDict]:
    """Turns as contents. A tool's result carries the name of the function that was called."""
    names = {call.id: call.name for turn in turns for call in turn.tool_calls}
    contents: list[types.ContentUnionDict] = []
    for turn in turns:
        if turn.role == "system":
            continue
        parts: list[Any] = []
        if turn.role == "tool":
            name = names.get(turn.tool_call_id or "", turn.tool_call_id or "")
            response = {"result": turn.content}
            parts.append({"function_response": {"name": name, "response": response}})
        elif turn.parts:
            parts += [_part(part) for part in turn.parts if part]
        elif turn.content:
            parts.append({"text": turn.content})
        parts += [
            {"function_call": {"name": call.name, "args": _arguments(call.arguments)}}
            for call in turn.tool_calls
        ]
        role = "model" if turn.role == "assistant" else "user"
        contents.append({"role": role, "parts": parts})
    return contents


def _part(part: str | Image) -> types.Part:
    if isinstance(part, str):
        return types.Part(text=part)
    data = base64.b64decode(part.data)
    return types.Part(inline_data=types.Blob(mime_type=part.media_type, data=data))


def _arguments(text: str) -> Any:  # noqa: ANN401  JSON
    try:
        return json.loads(text or "{}")
    except json.JSONDecodeError:
        message = "messages: the arguments of a tool call are not JSON"
        raise InvalidRequest(message, param="messages") from None


def _tools(request: GenerateRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    declarations = [
        {
            "name": tool.name,
            "description": tool.description,
            "parameters_json_schema": tool.parameters or None,
        }
        for tool in request.tools
    ]
    mode = _MODES.get(request.tool_choice, "ANY")
    if mode == "AUTO" and any(tool.strict for tool in request.tools):
        mode = "VALIDATED"
    calling: dict[str, Any] = {"mode": mode}
    if request.tool_choice not in _MODES:
        calling["allowed_function_names"] = [request.tool_choice]
    return {
        "tools": [{"function_declarations": declarations}],
        "tool_config": {"function_calling_config": calling},
    }
