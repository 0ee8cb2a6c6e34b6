"""Every answer of the OpenAI routes, whole and streamed, against OpenAI's published schema."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from models.values import FinishReason, TextDelta, TokenEvent, TokenLogprob, ToolCallDelta
from tests.support.openai_schema import assert_valid
from tests.support.services import Services, entry
from tiffin.config.settings import Settings
from tiffin.core.errors import Overloaded, UpstreamFailed

CHAT: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "how tall?"}]}
TEXT: dict[str, Any] = {"model": "small", "prompt": "The tower is"}
ASKED: dict[str, Any] = {"model": "small", "input": "how tall?", "instructions": "Be brief."}
EMBED: dict[str, Any] = {"model": "all-minilm-l6-v2", "input": ["a tower", "a lake"]}
SCHEMA = {"type": "object", "properties": {}}
FUNCTION: dict[str, Any] = {"name": "weather", "description": "It", "parameters": SCHEMA}
CHAT_TOOLS = {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"}
TOOLS = {
    "tools": [{"type": "function", **FUNCTION, "strict": True}],
    "tool_choice": {"type": "function", "name": "weather"},
}
FORMAT = {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}

CALLS: list[TokenEvent] = [
    TextDelta("Let me look."),
    ToolCallDelta(0, "", "call_1", "weather"),
    ToolCallDelta(0, '{"city": "Rome"}'),
    ToolCallDelta(1, "", "call_2", "weather"),
    ToolCallDelta(1, "{}"),
]
TOKENS: list[TokenEvent] = [
    TextDelta("Hi", [TokenLogprob("Hi", -0.1, [72, 105], [TokenLogprob("Yo", -2.0, [89, 111])])]),
    TextDelta(" é", [TokenLogprob(" ", -0.1, [32], []), TokenLogprob("", -0.5, [195, 169], [])]),
]

CASES = [
    pytest.param("/v1/chat/completions", {**CHAT, "n": 2}, [], "stop", id="chat"),
    pytest.param("/v1/chat/completions", {**CHAT, **CHAT_TOOLS}, CALLS, "tool_calls", id="tools"),
    pytest.param(
        "/v1/chat/completions",
        {**CHAT, "logprobs": True, "top_logprobs": 1},
        TOKENS,
        "length",
        id="chat logprobs",
    ),
    pytest.param("/v1/completions", {**TEXT, "n": 2}, [], "stop", id="completion"),
    pytest.param("/v1/completions", {**TEXT, "logprobs": 1}, TOKENS, "length", id="text logprobs"),
    pytest.param("/v1/responses", {**ASKED, "metadata": {"a": "b"}}, [], "stop", id="response"),
    pytest.param("/v1/responses", {**ASKED, "user": "u"}, [], "length", id="cut response"),
    pytest.param("/v1/responses", {**ASKED, **TOOLS}, CALLS, "tool_calls", id="response tools"),
    pytest.param(
        "/v1/responses",
        {**ASKED, "top_logprobs": 1, "text": {"format": FORMAT}},
        TOKENS,
        "stop",
        id="response logprobs",
    ),
]
WHOLE = {
    "/v1/chat/completions": "CreateChatCompletionResponse",
    "/v1/completions": "CreateCompletionResponse",
    "/v1/responses": "Response",
}
PIECE = {
    "/v1/chat/completions": "CreateChatCompletionStreamResponse",
    "/v1/completions": "CreateCompletionResponse",
    "/v1/responses": "ResponseStreamEvent",
}


def frames(text: str) -> list[Any]:
    """What a stream carries, without [DONE] and the names of events.

    A piece of a `text_completion` before the last has no reason to have finished. The schema says
    nothing about that; servers send null.
    """
    data = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    found: list[Any] = [json.loads(frame) for frame in data if frame != "[DONE]"]
    for frame in found:
        if frame.get("object") == "text_completion":
            for choice in frame["choices"]:
                choice["finish_reason"] = choice["finish_reason"] or "stop"
    return found


@pytest.mark.parametrize(("path", "body", "events", "reason"), CASES)
async def test_a_whole_answer_is_as_published(
    services: Services,
    settings: Settings,
    path: str,
    body: dict[str, Any],
    events: Sequence[TokenEvent],
    reason: FinishReason,
) -> None:
    services.events, services.reason = list(events), reason
    async with entry(services, settings) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert_valid(WHOLE[path], answer.json())


@pytest.mark.parametrize(("path", "body", "events", "reason"), CASES)
async def test_every_frame_of_a_stream_is_as_published(
    services: Services,
    settings: Settings,
    path: str,
    body: dict[str, Any],
    events: Sequence[TokenEvent],
    reason: FinishReason,
) -> None:
    services.events, services.reason = list(events), reason
    options = {} if path == "/v1/responses" else {"stream_options": {"include_usage": True}}
    async with entry(services, settings) as client:
        answer = await client.post(path, json={**body, "stream": True, **options})
    found = frames(answer.text)
    assert len(found) > 3
    for frame in found:
        assert_valid(PIECE[path], frame)


async def test_vectors_are_as_published(services: Services, settings: Settings) -> None:
    """The schema knows numbers only, though OpenAI's own client asks for base64."""
    async with entry(services, settings) as client:
        answer = (await client.post("/v1/embeddings", json=EMBED)).json()
    assert_valid("CreateEmbeddingResponse", answer)


async def test_models_are_as_published(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        listed = (await client.get("/v1/models")).json()
        one = (await client.get("/v1/models/auto")).json()
    assert_valid("ListModelsResponse", listed)
    assert_valid("Model", one)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", CHAT, 503),
        ("/v1/chat/completions", {**CHAT, "n": 0}, 400),
        ("/v1/completions", {**TEXT, "model": "gpt-9"}, 404),
        ("/v1/responses", {**ASKED, "store": True}, 400),
        ("/v1/embeddings", {**EMBED, "input": ["x"] * 2049}, 422),
        ("/v1/nowhere", {}, 404),
    ],
)
async def test_errors_are_as_published(
    services: Services, settings: Settings, path: str, body: dict[str, Any], status: int
) -> None:
    services.fails = {"small": Overloaded("full")}
    async with entry(services, settings) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == status
    assert_valid("ErrorResponse", answer.json())


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/chat/completions", CHAT, "ErrorResponse"),
        ("/v1/completions", TEXT, "ErrorResponse"),
        ("/v1/responses", ASKED, "ResponseStreamEvent"),
    ],
)
async def test_an_error_within_a_stream_is_as_published(
    services: Services, settings: Settings, path: str, body: dict[str, Any], name: str
) -> None:
    services.fails = {"mid-stream": UpstreamFailed("it broke")}
    services.breaks_after = 2
    async with entry(services, settings) as client:
        answer = await client.post(path, json={**body, "stream": True})
    assert_valid(name, frames(answer.text)[-1])
