"""`/v1/responses` in front of weightless services."""

import json
from typing import Any

import httpx
import pytest

from models.values import TextDelta, TokenLogprob, ToolCallDelta
from tests.support.services import Services, entry
from tiffin.config.settings import Settings
from tiffin.core.errors import UpstreamFailed

URL = "/v1/responses"
ASKED: dict[str, Any] = {"model": "small", "input": "how tall?"}
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CALL = [ToolCallDelta(0, "", "call_1", "weather"), ToolCallDelta(0, '{"city": "Rome"}')]


async def events(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = await client.post(URL, json={**body, "stream": True})
    found = []
    for frame in filter(None, response.text.split("\n\n")):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


async def test_a_question_becomes_a_message(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        fields = {"instructions": "Be brief.", "max_output_tokens": 9}
        body = (await client.post(URL, json={**ASKED, **fields})).json()
    (sent,) = services.prompts
    assert [(turn.role, turn.content) for turn in sent.messages] == [
        ("system", "Be brief."),
        ("user", "how tall?"),
    ]
    assert sent.max_tokens == 9
    (message,) = body["output"]
    assert (body["status"], message["status"], message["role"]) == (
        "completed",
        "completed",
        "assistant",
    )
    assert message["content"][0]["text"] == "The tower is 324 metres tall."
    assert body["usage"]["total_tokens"] == 13
    assert (body["store"], body["object"]) == (False, "response")


@pytest.mark.parametrize("parsed", [False, True], ids=["as they came", "as the client parsed them"])
async def test_output_items_may_be_sent_back(
    services: Services, settings: Settings, parsed: bool
) -> None:
    services.events = [TextDelta("Let me look."), *CALL]
    async with entry(services, settings) as client:
        first = (await client.post(URL, json={**ASKED, "tools": [TOOL]})).json()
        if parsed:  # by `responses.parse`
            message, call = first["output"]
            message["content"][0]["parsed"] = {"city": "Rome"}
            call["parsed_arguments"] = {"city": "Rome"}
        turns = [
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            *first["output"],
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        ]
        second = await client.post(URL, json={**ASKED, "input": turns, "tools": [TOOL]})
    assert second.status_code == 200, second.text
    user, assistant, tool = services.prompts[-1].messages
    assert (user.content, assistant.content, tool.content) == (
        "weather?",
        "Let me look.",
        "sunny",
    )
    assert (assistant.tool_calls[0].arguments, tool.tool_call_id) == (
        '{"city": "Rome"}',
        "call_1",
    )


async def test_the_events_of_a_text_come_in_openai_s_order(
    services: Services, settings: Settings
) -> None:
    services.answer = ("na", "ïve 😀")
    async with entry(services, settings) as client:
        found = await events(client, ASKED)
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in found[4:6]] == ["na", "ïve 😀"]
    assert found[0]["response"]["output"] == []
    assert found[2]["item"]["content"] == []
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "naïve 😀"


async def test_the_events_of_a_call(services: Services, settings: Settings) -> None:
    services.events = [TextDelta("Well."), *CALL]
    async with entry(services, settings) as client:
        found = await events(client, {**ASKED, "tools": [TOOL]})
    assert [event["type"].removeprefix("response.") for event in found][7:] == [
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    call = found[-1]["response"]["output"][1]
    assert (call["type"], call["call_id"], call["arguments"]) == (
        "function_call",
        "call_1",
        '{"city": "Rome"}',
    )


async def test_an_answer_that_was_cut_says_so(services: Services, settings: Settings) -> None:
    services.reason = "length"
    async with entry(services, settings) as client:
        body = (await client.post(URL, json=ASKED)).json()
        found = await events(client, ASKED)
    assert (body["status"], body["incomplete_details"]["reason"]) == (
        "incomplete",
        "max_output_tokens",
    )
    assert found[-1]["type"] == "response.incomplete"


async def test_a_schema_and_logprobs_reach_the_engine(
    services: Services, settings: Settings
) -> None:
    schema = {"type": "object", "properties": {}}
    services.events = [TextDelta("{}", [TokenLogprob("{}", -0.1, [123, 125])])]
    fields = {
        "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}},
        "top_logprobs": 2,
        "include": ["message.output_text.logprobs"],
    }
    async with entry(services, settings) as client:
        body = (await client.post(URL, json={**ASKED, **fields})).json()
    assert (services.prompts[0].json_schema, services.prompts[0].logprobs) == (schema, 2)
    assert body["output"][0]["content"][0]["logprobs"][0]["bytes"] == [123, 125]
    assert body["text"]["format"]["schema"] == schema


async def test_a_failure_later_is_the_event_error(services: Services, settings: Settings) -> None:
    services.fails = {"mid-stream": UpstreamFailed("it broke")}
    services.breaks_after = 2
    async with entry(services, settings) as client:
        last = (await events(client, ASKED))[-1]
    assert (last["type"], last["message"]) == ("error", "it broke")
    assert last["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"type": ["message"]}]}, "input[0].type"),
        ({"input": ["hello"]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0]"),
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [{**TOOL, "parameters": {"maximum": 10**30}}]}, "tools[0].parameters"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    services: Services, settings: Settings, change: dict[str, Any], param: str
) -> None:
    async with entry(services, settings) as client:
        response = await client.post(URL, json={**ASKED, **change})
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"].startswith(param), error
    assert not services.prompts


async def test_an_item_of_an_unknown_type_is_told_which_there_are(
    services: Services, settings: Settings
) -> None:
    turns = [{"role": "user", "content": "hello"}, {"type": "web_search_call"}]
    async with entry(services, settings) as client:
        error = (await client.post(URL, json={**ASKED, "input": turns})).json()["error"]
    assert (error["param"], error["code"]) == ("input[1].type", "unknown_type")
    known = "message, function_call, function_call_output, reasoning, item_reference"
    known += ", file_search_call"
    assert error["message"] == f"input[1].type: must be one of: {known}; it is 'web_search_call'"


async def test_thoughts_of_another_model_are_left_out(
    services: Services, settings: Settings
) -> None:
    """Agents send back all items, and ask for thoughts that they could send back."""
    turns = [
        {"role": "user", "content": "how tall?", "id": "msg_1"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "324 metres."}]},
    ]
    asked = {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}
    async with entry(services, settings) as client:
        answer = await client.post(URL, json={**ASKED, **asked, "input": turns})
    assert answer.status_code == 200, answer.text
    assert [turn.role for turn in services.prompts[0].messages] == ["user", "assistant"]


async def test_a_reference_to_an_item_is_told_what_to_do(
    services: Services, settings: Settings
) -> None:
    turns = [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "msg_5"}]
    async with entry(services, settings) as client:
        error = (await client.post(URL, json={**ASKED, "input": turns})).json()["error"]
    assert error["param"] == "input[1]"
    assert "'msg_5'" in error["message"]
    assert "send the item itself" in error["message"]
    assert "`store: false`" in error["message"]
