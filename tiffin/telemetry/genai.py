"""The names that spans have by OpenTelemetry's conventions for generative AI, all in this file.

After the repository open-telemetry/semantic-conventions-genai, whose status is still "development":
https://github.com/open-telemetry/semantic-conventions-genai/tree/main/docs/gen-ai
When a name changes there, it changes here. What the conventions do not know (tiers, budgets,
reranking) is named `tiffin.*`.
"""

from typing import Any

import msgspec

from models.values import Finished, GenerateRequest
from tiffin.core.context import Attempt

PROVIDER = "gen_ai.provider.name"
OPERATION = "gen_ai.operation.name"
MODEL = "gen_ai.request.model"
OURS = "tiffin"
"""The provider of our own models: the conventions have no value for one."""

_PROVIDERS = {"google": "gcp.gemini", "openai-compatible": "openai"}
"""The conventions' names where ours differ. A compatible server's format is OpenAI's."""


def operation_of(request: GenerateRequest) -> str:
    """What the tier is asked for."""
    return "chat" if request.prompt is None else "text_completion"


def asked(attempt: Attempt, request: GenerateRequest, *, whole: bool) -> dict[str, Any]:
    """Of an inference span, as a tier is asked."""
    return {
        OPERATION: operation_of(request),
        PROVIDER: _PROVIDERS.get(attempt.provider, attempt.provider),
        MODEL: attempt.model,
        "gen_ai.request.stream": not whole,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.seed": request.seed,
        "gen_ai.output.type": "json" if request.json_schema is not None else None,
        "tiffin.tier": attempt.tier,
        "tiffin.attempt": attempt.number,
    }


def answered(attempt: Attempt, finished: Finished | None) -> dict[str, Any]:
    """Of an inference span, once the attempt has ended."""
    usage, ttft_ms = attempt.usage, attempt.ttft_ms
    return {
        "gen_ai.response.model": attempt.model,
        "gen_ai.response.finish_reasons": None if finished is None else [finished.reason],
        "gen_ai.response.time_to_first_chunk": None if ttft_ms is None else ttft_ms / 1000,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
        "tiffin.outcome": attempt.outcome,
        "tiffin.cost_usd": attempt.usd,
    }


def read(request: GenerateRequest) -> dict[str, Any]:
    """Content, off by default: what the tier reads."""
    if request.prompt is not None:
        turns = [_turn("user", str(request.prompt))]
    else:
        turns = [_turn(turn.role, turn.content) for turn in request.messages]
    return {"gen_ai.input.messages": msgspec.json.encode(turns).decode()}


def wrote(text: str, finished: Finished | None) -> dict[str, Any]:
    """Content, off by default: what the tier wrote."""
    turn = _turn("assistant", text) | {"finish_reason": finished.reason if finished else "error"}
    return {"gen_ai.output.messages": msgspec.json.encode([turn]).decode()}


def embeddings(tokens: int) -> dict[str, Any]:
    """Of a span in which texts are embedded."""
    return {OPERATION: "embeddings", PROVIDER: OURS, "gen_ai.usage.input_tokens": tokens}


def retrieval(corpus: str | None, top_k: int) -> dict[str, Any]:
    """Of a span in which passages are searched."""
    return {
        OPERATION: "retrieval",
        PROVIDER: OURS,
        "gen_ai.data_source.id": corpus,
        "gen_ai.request.top_k": top_k,
    }


def _turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}
