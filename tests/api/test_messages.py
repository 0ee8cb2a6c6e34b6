"""`/v1/messages` in front of weightless services, called with Anthropic's own client."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anthropic
import httpx2
import pytest
from anthropic.types import Message

from models.values import ChatMessage, TextDelta, TokenEvent, Tool, ToolCall, ToolCallDelta
from tests.support.services import Services, entry
from tiffin.config.settings import Settings
from tiffin.core.errors import Overloaded, UpstreamFailed

ASKED: Any = {
    "model": "small",
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "how tall?"}],
}
WEATHER: Any = {"name": "weather", "input_schema": {"type": "object"}}
CALLED: list[TokenEvent] = [
    TextDelta("Let me look."),
    ToolCallDelta(0, "", "call_1", "weather"),
    ToolCallDelta(0, '{"city": '),
    ToolCallDelta(0, '"Rome"}'),
    ToolCallDelta(1, "", "call_2", "clock"),
]


@asynccontextmanager
async def calling(services: Services, settings: Settings) -> AsyncGenerator[Any, None]:
    async with entry(services, settings):
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(cast("Any", services.front)))
        async with anthropic.AsyncAnthropic(
            api_key="none", base_url="http://tiffin", http_client=http, max_retries=0
        ) as client:
            yield client


def strictly(message: Message) -> Message:
    """The client takes whatever comes, so hold it to its own types."""
    Message.model_validate_json(message.model_dump_json(warnings="none"), strict=True)
    return message


async def test_a_conversation_gets_its_next_turn(services: Services, settings: Settings) -> None:
    async with calling(services, settings) as client:
        message = await client.messages.create(
            **ASKED,
            system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            stop_sequences=["."],
            extra_body={"temperature": 0.5},  # newer clients have no such argument
            metadata={"user_id": "me"},
        )
    strictly(message)
    assert message.content[0].text == "The tower is 324 metres tall."
    assert (message.stop_reason, message.role) == ("end_turn", "assistant")
    assert message.usage.output_tokens > 0
    (sent,) = services.prompts
    assert sent.messages == [ChatMessage("system", "Be brief."), ChatMessage("user", "how tall?")]
    assert (sent.max_tokens, sent.stop, sent.temperature) == (99, ["."], 0.5)


async def test_a_stream_comes_together_as_the_whole_answer(
    services: Services, settings: Settings
) -> None:
    services.events = list(CALLED)
    services.reason = "tool_calls"
    async with calling(services, settings) as client:
        whole = await client.messages.create(**ASKED, tools=[WEATHER])
        async with client.messages.stream(**ASKED, tools=[WEATHER]) as stream:
            names = [event.type async for event in stream]
            streamed = await stream.get_final_message()
    assert [block.model_dump() for block in streamed.content] == [
        block.model_dump() for block in strictly(whole).content
    ]
    assert [block.type for block in whole.content] == ["text", "tool_use", "tool_use"]
    assert whole.content[1].input == {"city": "Rome"}
    assert whole.content[2].input == {}
    assert (whole.stop_reason, streamed.stop_reason) == ("tool_use", "tool_use")
    assert whole.usage.model_dump() == {**streamed.usage.model_dump(), "cost": 0.0}
    assert (names[0], names[-1]) == ("message_start", "message_stop")


async def test_calls_and_results_go_back(services: Services, settings: Settings) -> None:
    turns: Any = [
        {"role": "user", "content": "how is Rome?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "no", "is_error": True},
                {"type": "text", "text": "And now?"},
            ],
        },
    ]
    choice: Any = {"type": "any", "disable_parallel_tool_use": True}
    async with calling(services, settings) as client:
        await client.messages.create(
            **{**ASKED, "messages": turns}, tools=[WEATHER], tool_choice=choice
        )
    (sent,) = services.prompts
    assert sent.messages[1:] == [
        ChatMessage("assistant", "Let me look.", [ToolCall("c1", "weather", '{"city": "Rome"}')]),
        ChatMessage("tool", "sunny", [], "c1"),
        ChatMessage("tool", "Error: no", [], "c2"),
        ChatMessage("user", "And now?"),
    ]
    assert sent.tools == [Tool("weather", "", {"type": "object"})]
    assert (sent.tool_choice, sent.parallel_tool_calls) == ("required", False)


async def test_tokens_are_counted_without_an_answer(services: Services, settings: Settings) -> None:
    asked = {"model": "auto", "messages": ASKED["messages"], "system": "Be very brief."}
    async with calling(services, settings) as client:
        count = await client.messages.count_tokens(**asked, tools=[WEATHER])
    assert count.input_tokens == 5
    assert services.calls == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"top_k": 5}, "top_k: input should be null, or left out"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking"),
        ({"colour": "red"}, "colour: extra inputs are not permitted"),
        ({"max_tokens": 0}, "max_tokens: input should be greater than or equal to 1"),
        (
            {"messages": [*ASKED["messages"], {"role": "assistant", "content": "It is"}]},
            "messages[1]: the last turn must be the user's",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document"}]}]},
            "messages[0].content[0].type: must be one of: text, image, tool_use",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice: there is no function 'x'"),
    ],
)
async def test_what_cannot_be_is_an_error_of_anthropic_s(
    services: Services, settings: Settings, change: dict[str, Any], says: str
) -> None:
    async with calling(services, settings) as client:
        with pytest.raises(anthropic.BadRequestError) as raised:
            await client.post("/v1/messages", body={**ASKED, **change}, cast_to=httpx2.Response)
    body: Any = raised.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert body["error"]["message"].startswith(says)
    assert body["request_id"] == raised.value.response.headers["x-request-id"]


async def test_failures_have_anthropic_s_types_in_a_stream_too(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": Overloaded("busy")}
    async with calling(services, settings) as client:
        with pytest.raises(anthropic.APIStatusError) as raised:
            await client.messages.create(**ASKED)
        assert cast("Any", raised.value.body)["error"]["type"] == "overloaded_error"
        services.fails, services.breaks_after = {"mid-stream": UpstreamFailed("it broke")}, 2
        with pytest.raises(anthropic.APIStatusError) as raised:
            async with client.messages.stream(**ASKED) as stream:
                await stream.get_final_message()
    error = raised.value.body
    assert json.loads(json.dumps(error))["error"]["type"] == "api_error"
