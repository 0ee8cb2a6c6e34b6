"""`/v1/chat/completions` in front of weightless services: shapes, fields, errors, streams."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from models.values import TextDelta, TokenLogprob, ToolCallDelta
from tests.support.services import Services, entry
from tests.support.soon import SOON_S
from tiffin.api.bodies import JSON
from tiffin.config.settings import Settings, load_settings
from tiffin.core.errors import InvalidRequest, Overloaded, UpstreamFailed

HELLO: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "how tall?"}]}
URL = "/v1/chat/completions"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
IMAGE = "messages[0].content[1]"


SCHEMA = "response_format.json_schema.schema"


def schema(value: dict[str, Any]) -> dict[str, Any]:
    """A response_format with it."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}


def tool(parameters: dict[str, Any]) -> dict[str, Any]:
    """A tool with these."""
    return {"type": "function", "function": {"name": "weather", "parameters": parameters}}


TOOL = tool({"type": "object"})
STRICT = {**TOOL, "function": {**TOOL["function"], "strict": True}}


def look(url: str, role: str = "user") -> dict[str, Any]:
    """A turn with text and an image."""
    image = {"type": "image_url", "image_url": {"url": url}}
    return {"role": role, "content": [{"type": "text", "text": "What is it?"}, image]}


async def chunks(client: httpx.AsyncClient, body: dict[str, Any]) -> list[Any]:
    """The frames of a stream, each parsed but for [DONE]."""
    response = await client.post(URL, json={**body, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [frame if frame == "[DONE]" else json.loads(frame) for frame in frames]


async def test_an_answer_has_openai_s_shape(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        response = await client.post(URL, json=HELLO)
    body = response.json()
    assert response.headers["x-tiffin-tier"] == "small"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "The tower is 324 metres tall.",
                "refusal": None,
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert (body["object"], body["model"]) == ("chat.completion", "model-small")
    assert body["usage"]["total_tokens"] == 7 + 6
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_every_name_leads_to_its_tier(services: Services, settings: Settings) -> None:
    tiers = {}
    async with entry(services, settings) as client:
        for model in ("auto-fast", "auto", "auto-quality", "large", "model-large"):
            response = await client.post(URL, json={**HELLO, "model": model})
            tiers[model] = response.headers["x-tiffin-tier"]
    assert tiers == {
        "auto": "small",
        "auto-fast": "small",
        "auto-quality": "large",
        "large": "large",
        "model-large": "large",
    }


async def test_every_field_reaches_the_engine(services: Services, settings: Settings) -> None:
    fields = {
        "max_completion_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "stop": "END",
        "seed": -1,
        "logprobs": True,
        "top_logprobs": 3,
        "response_format": {"type": "json_object"},
        "tools": [STRICT, TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
    }
    async with entry(services, settings) as client:
        assert (await client.post(URL, json={**HELLO, **fields})).status_code == 200
    (sent,) = services.prompts
    assert (sent.max_tokens, sent.temperature, sent.top_p) == (9, 0.5, 0.9)
    assert (sent.presence_penalty, sent.frequency_penalty) == (1, -1)
    assert (sent.stop, sent.seed, sent.logprobs) == (["END"], 2**31 - 1, 3)
    assert (sent.json_schema, sent.tool_choice) == ({}, "weather")
    assert (sent.tools[0].name, sent.parallel_tool_calls) == ("weather", False)
    assert [tool.strict for tool in sent.tools] == [True, False]


@pytest.mark.parametrize("strict", [True, False, None])
async def test_strict_reaches_providers_who_must_be_told(
    services: Services, settings: Settings, strict: bool | None
) -> None:
    form: dict[str, Any] = {"name": "x", "schema": {}, "strict": strict}
    chat = {**HELLO, "response_format": {"type": "json_schema", "json_schema": form}}
    text = {"format": {"type": "json_schema", **form}}
    async with entry(services, settings) as client:
        assert (await client.post(URL, json=chat)).status_code == 200
        answered = await client.post(
            "/v1/responses", json={"model": "auto", "input": "Hi", "text": text}
        )
    assert answered.status_code == 200, answered.text
    assert [sent.strict_schema for sent in services.prompts] == [bool(strict)] * 2


async def test_a_conversation_keeps_its_turns(services: Services, settings: Settings) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
    ]
    async with entry(services, settings) as client:
        assert (await client.post(URL, json={**HELLO, "messages": turns})).status_code == 200
    sent = services.prompts[0].messages
    assert [(turn.role, turn.content) for turn in sent] == [
        ("system", "Be brief."),
        ("user", "a\nb"),
        ("assistant", ""),
        ("tool", "sunny"),
    ]
    assert (sent[2].tool_calls[0].name, sent[3].tool_call_id) == ("weather", "c1")


async def test_a_stream_is_one_chunk_an_event_in_order(
    services: Services, settings: Settings
) -> None:
    services.answer = ("na", "ïve ", "😀", " 漢字")
    async with entry(services, settings) as client:
        first, *pieces, last, done = await chunks(client, HELLO)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [piece["choices"][0]["delta"]["content"] for piece in pieces] == list(services.answer)
    assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
    assert "usage" not in last


async def test_a_stream_ends_with_the_usage_where_it_is_asked_for(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        *_, usage, done = await chunks(client, {**HELLO, "stream_options": {"include_usage": True}})
    assert (usage["choices"], usage["usage"]["completion_tokens"], done) == ([], 6, "[DONE]")


async def test_what_programs_that_measure_ask_for_is_honoured(
    services: Services, settings: Settings
) -> None:
    """The body of guidellm: the model writes up to the limit, and the usage comes at the end."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = {**HELLO, "stream_options": options, "ignore_eos": True, "stop": None}
    async with entry(services, settings) as client:
        *_, usage, _ = await chunks(client, {**body, "max_completion_tokens": 6})
    assert services.prompts[-1].ignore_eos
    assert usage["usage"]["completion_tokens"] == 6


async def test_n_answers_come_side_by_side_each_with_its_index_and_seed(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"small": 0.2}
    async with entry(services, settings) as client:
        body = (await client.post(URL, json={**HELLO, "n": 3, "seed": 5})).json()
        assert services.most_open == 3
        streamed = await chunks(client, {**HELLO, "n": 2})
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert body["usage"]["prompt_tokens"] == 7, "the prompt counts once"
    assert body["usage"]["completion_tokens"] == 18
    assert sorted(prompt.seed or 0 for prompt in services.prompts[:3]) == [5, 6, 7]
    texts = {0: "", 1: ""}
    for chunk in streamed[:-1]:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == dict.fromkeys([0, 1], "The tower is 324 metres tall.")


async def test_tool_calls_come_whole_and_streamed(services: Services, settings: Settings) -> None:
    services.events = [
        ToolCallDelta(0, "", "call_1", "weather"),
        ToolCallDelta(0, '{"city":'),
        ToolCallDelta(0, ' "Rome"}'),
    ]
    services.reason = "tool_calls"
    async with entry(services, settings) as client:
        body = (await client.post(URL, json={**HELLO, "tools": [TOOL]})).json()
        streamed = await chunks(client, {**HELLO, "tools": [TOOL]})
    (choice,) = body["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert choice["message"]["tool_calls"] == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
        }
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed[1:4]]
    assert deltas[0]["tool_calls"][0]["function"] == {"name": "weather", "arguments": ""}
    assert deltas[1]["tool_calls"] == [{"index": 0, "function": {"arguments": '{"city":'}}]


async def test_logprobs_have_openai_s_shape(services: Services, settings: Settings) -> None:
    other = TokenLogprob("Yo", -2.0, [89, 111])
    services.events = [TextDelta("Hi", [TokenLogprob("Hi", -0.1, [72, 105], [other])])]
    async with entry(services, settings) as client:
        fields = {"logprobs": True, "top_logprobs": 1}
        body = (await client.post(URL, json={**HELLO, **fields})).json()
    assert body["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": "Hi",
                "logprob": -0.1,
                "bytes": [72, 105],
                "top_logprobs": [{"token": "Yo", "logprob": -2.0, "bytes": [89, 111]}],
            }
        ],
        "refusal": None,
    }


async def test_a_failure_before_the_first_token_has_its_status(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": Overloaded("full"), "large": Overloaded("full")}
    async with entry(services, settings) as client:
        response = await client.post(URL, json={**HELLO, "stream": True})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["error"]["type"] == "overloaded_error"


async def test_a_failure_later_is_a_typed_frame_and_no_done(
    services: Services, settings: Settings
) -> None:
    services.fails = {"mid-stream": UpstreamFailed("it broke")}
    services.breaks_after = 2
    async with entry(services, settings) as client:
        *_, last = await chunks(client, HELLO)
        whole = await client.post(URL, json=HELLO)
        several = await client.post(URL, json={**HELLO, "n": 2})
    assert last["error"] == {
        "message": "it broke",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    assert (whole.status_code, several.status_code) == (500, 500)


async def test_a_schema_that_is_given_up_amid_the_answer_is_named_as_the_client_does(
    services: Services, settings: Settings
) -> None:
    gave_up = InvalidRequest("json_schema: too complex", param="json_schema")
    services.fails = {"mid-stream": gave_up}
    services.breaks_after = 2
    body = {**HELLO, "response_format": schema({"type": "string"})}
    async with entry(services, settings) as client:
        *_, last = await chunks(client, body)
        whole = await client.post(URL, json=body)
        called = await client.post(URL, json={**HELLO, "tools": [TOOL], "tool_choice": "required"})
    assert last["error"]["param"] == "response_format"
    assert (whole.status_code, whole.json()["error"]) == (400, last["error"])
    assert called.json()["error"]["message"] == "tools: too complex"


async def test_a_tier_that_cannot_begin_is_passed_over_and_the_answer_says_so(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": Overloaded("full")}
    async with entry(services, settings) as client:
        response = await client.post(URL, json=HELLO)
        pinned = await client.post(URL, json={**HELLO, "model": "small"})
    assert (response.headers["x-tiffin-tier"], response.headers["x-tiffin-degraded"]) == (
        "large",
        "tier",
    )
    assert pinned.status_code == 503, "who names a tier gets that or nothing"


async def test_a_client_that_leaves_stops_all_its_answers(
    services: Services, settings: Settings
) -> None:
    services.answer = ("word ",) * 10_000
    services.delays_s = {"token": 0.005}
    async with entry(services, settings) as client:
        async with client.stream("POST", URL, json={**HELLO, "stream": True, "n": 2}) as response:
            async for line in response.aiter_lines():
                if "word" in line:
                    break
        async with asyncio.timeout(SOON_S):
            while services.ended < 2:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "gpt-9"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user"}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0].tool_call_id"),
        ({"messages": [{"role": "king", "content": "x"}]}, 400, "messages[0].role"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:,"}}],
                    }
                ]
            },
            400,
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            400,
            "messages[0].content[0].type",
        ),
        ({"messages": [look("data:image/bmp;base64,aGk=")]}, 400, IMAGE + ".image_url.url"),
        ({"messages": [look("data:image/png;base64,a")]}, 400, IMAGE + ".image_url.url"),
        ({"messages": [look("http://example.org/a.png")]}, 400, IMAGE + ".image_url.url"),
        ({"messages": [look(PIXEL, role="assistant")]}, 400, IMAGE),
        ({"messages": [look(PIXEL)]}, 400, IMAGE),
        ({"messages": [look(PIXEL)], "model": "small"}, 400, IMAGE),
        ({"n": 17}, 400, "n"),
        ({"stop": ["a"] * 5}, 400, "stop"),
        ({"stop": ""}, 400, "stop"),
        ({"temperature": 3}, 400, "temperature"),
        ({"top_logprobs": 2}, 400, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
        ({"response_format": {"type": "json_schema"}}, 400, "response_format"),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            400,
            "tool_choice",
        ),
        ({"store": True}, 400, "store"),
        ({"logit_bias": {"5": 1}}, 400, "logit_bias"),
        ({"max_tokens": 2**31}, 400, "max_tokens"),
        ({"max_tokens": 2, "max_completion_tokens": 3}, 400, "body"),
        ({"response_format": schema({"maximum": 10**30})}, 400, SCHEMA),
        ({"response_format": schema({"anyOf": [{"minimum": float("nan")}]})}, 400, SCHEMA),
        ({"tools": [tool({"maximum": 10**30})]}, 400, "tools[0].function.parameters"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "b": 1}]}]},
            400,
            "messages[0].content[0].b",
        ),
        ({"modalities": ["audio"]}, 400, "modalities[0]"),
        ({"reasoning_effort": "high"}, 400, "reasoning_effort"),
        ({"ignore_eos": True, "response_format": {"type": "json_object"}}, 400, "ignore_eos"),
        ({"service_tier": "priority"}, 400, "service_tier"),
        ({"functions": []}, 400, "functions"),
        ({"web_search_options": {}}, 400, "web_search_options"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name_before_any_model_runs(
    services: Services, settings: Settings, change: dict[str, Any], status: int, param: str
) -> None:
    async with entry(services, settings) as client:
        body = json.dumps({**HELLO, **change})  # httpx knows no NaN
        response = await client.post(URL, content=body, headers={"content-type": JSON})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    assert set(error) == {"message", "type", "param", "code"}
    assert not services.prompts


async def test_harmless_fields_are_accepted(services: Services, settings: Settings) -> None:
    fields = {
        "user": "u",
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "auto",
        "modalities": ["text"],
        "logit_bias": {},
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "max_tokens": 5,
        "max_completion_tokens": 5,
        **dict.fromkeys(("audio", "functions", "function_call", "web_search_options")),
        "n": None,
        "stop": None,
        "stream": None,
    }
    async with entry(services, settings) as client:
        response = await client.post(URL, json={**HELLO, **fields})
    assert response.status_code == 200, response.text


async def test_what_openai_s_client_adds_to_a_call_may_be_sent_back(
    services: Services, settings: Settings
) -> None:
    """`chat.completions.parse` and `.stream` give such turns."""
    call = {
        "id": "call_1",
        "type": "function",
        "index": 0,
        "function": {"name": "weather", "arguments": "{}", "parsed_arguments": {"city": "Rome"}},
    }
    turns = [
        *HELLO["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    async with entry(services, settings) as client:
        response = await client.post(URL, json={**HELLO, "messages": turns})
    assert response.status_code == 200, response.text
    assert services.prompts[0].messages[1].tool_calls[0].arguments == "{}"


async def test_a_refusal_may_be_sent_back_as_a_part(services: Services, settings: Settings) -> None:
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I may not."}]}
    async with entry(services, settings) as client:
        turns = [*HELLO["messages"], refusal, *HELLO["messages"]]
        response = await client.post(URL, json={**HELLO, "messages": turns})
    assert response.status_code == 200, response.text
    assert services.prompts[0].messages[1].content == "I may not."


async def test_a_lora_adapter_is_a_model_of_its_tier(services: Services) -> None:
    small = {"model": "smollm2-135m-instruct", "adapters": {"legal": "adapters/legal"}}
    settings = load_settings(profile="laptop", tiers={"small": small})
    async with entry(services, settings) as client:
        listed = (await client.get("/v1/models")).json()["data"]
        answer = await client.post(URL, json={**HELLO, "model": "legal"})
    assert "legal" in [model["id"] for model in listed]
    assert answer.headers["x-tiffin-tier"] == "small"
    assert services.prompts[0].adapter == "legal"
