"""Tools as text: what the model is shown, and how its calls are read as they stream."""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from models.engines.calls import read_calls
from models.engines.tools import plain, turns
from models.errors import NotSupported
from models.values import (
    ChatMessage,
    Finished,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenUsage,
    Tool,
    ToolCall,
    ToolCallDelta,
)

WEATHER = Tool("weather", "Of a city.", {"type": "object", "properties": {"city": {}}})
CLOCK = Tool("clock")
DONE = Finished("stop", TokenUsage(prompt_tokens=1, completion_tokens=1))
DONE_BY_LENGTH = Finished("length", DONE.usage)
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'


def asked(**fields: Any) -> GenerateRequest:
    return GenerateRequest(
        messages=[ChatMessage("user", "Well?")], **{"tools": [WEATHER, CLOCK], **fields}
    )


async def read(
    pieces: Sequence[str], request: GenerateRequest, end: Finished = DONE
) -> tuple[str, list[Any], Finished]:
    """The text, the calls and the end that these pieces of text become."""

    async def written() -> AsyncGenerator[TokenEvent, None]:
        for piece in pieces:
            yield TextDelta(piece)
        yield end

    events = [event async for event in read_calls(written(), request)]
    finished = events.pop()
    assert isinstance(finished, Finished)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, [event for event in events if isinstance(event, ToolCallDelta)], finished


def test_the_tools_stand_in_the_system_turn() -> None:
    messages = plain(asked()).messages
    assert [message.role for message in messages] == ["system", "user"]
    assert '"name": "weather"' in messages[0].content
    own = GenerateRequest(messages=[ChatMessage("system", "Be brief.")], tools=[WEATHER])
    (system,) = plain(own).messages
    assert system.content.startswith("Be brief.\n\n# Tools")


def test_calls_and_results_of_earlier_turns_are_text_for_any_template() -> None:
    call = ToolCall("c1", "weather", '{"city": "Rome"}')
    request = GenerateRequest(
        messages=[
            ChatMessage("assistant", "", [call]),
            ChatMessage("tool", "sunny", [], "c1"),
        ]
    )
    assert turns(plain(request).messages) == [
        {
            "role": "assistant",
            "content": '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n'
            "</tool_call>",
        },
        {"role": "user", "content": "<tool_response>\nsunny\n</tool_response>"},
    ]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_a_call_is_read_however_it_is_cut(size: int) -> None:
    whole = f"I look. <b> {CALL}\n{CALL}\n"
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    text, calls, finished = await read(pieces, asked())
    assert text == "I look. <b> "
    assert [(call.index, call.name, json.loads(call.arguments)) for call in calls] == [
        (0, "weather", {"city": "Köln"}),
        (1, "weather", {"city": "Köln"}),
    ]
    assert len({call.id for call in calls}) == 2
    assert finished.reason == "tool_calls"


BARE = '{"name": "weather", "arguments": {"city": "Köln"}}'


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("whole", [BARE, f"{BARE}\n{BARE}", f" {BARE} \n"])
async def test_calls_without_tags_are_read_where_there_is_nothing_else(
    whole: str, size: int
) -> None:
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    text, calls, finished = await read(pieces, asked())
    assert (text, len(calls), finished.reason) == ("", whole.count("name"), "tool_calls")
    assert {json.loads(call.arguments)["city"] for call in calls} == {"Köln"}
    text, calls, _ = await read(pieces, asked(json_schema={}))
    assert (text.strip(), calls) == (whole.strip(), []), "beside a schema that is the answer"


@pytest.mark.parametrize(
    "whole",
    [
        BARE + " is it",
        '{"name": "weather"',
        '{"name": "money", "arguments": {}}',
        "[1]",
        '{"a": 1}',
    ],
)
async def test_other_json_is_text(whole: str) -> None:
    text, calls, finished = await read(list(whole), asked())
    assert (text, calls, finished.reason) == (whole, [], "stop")


async def test_json_that_can_be_no_call_is_not_kept_back() -> None:
    async def written() -> AsyncGenerator[TokenEvent, None]:
        yield TextDelta('{"city": ')
        pytest.fail("its first piece has not been passed on")

    assert await anext(read_calls(written(), asked())) == TextDelta('{"city": ')


async def test_text_without_calls_passes_unchanged() -> None:
    text, calls, finished = await read(["a < b", " and <tool", "box>"], asked())
    assert (text, calls, finished.reason) == ("a < b and <toolbox>", [], "stop")


async def test_a_call_that_is_no_json_stays_text() -> None:
    text, calls, finished = await read(["<tool_call>weather!</tool_call>"], asked())
    assert (text, calls, finished.reason) == ("<tool_call>weather!</tool_call>", [], "stop")


async def test_a_call_whose_end_tag_is_missing_counts() -> None:
    _, calls, finished = await read([CALL.removesuffix("</tool_call>")], asked())
    assert (len(calls), finished.reason) == (1, "tool_calls")


async def test_one_call_where_they_may_not_be_parallel() -> None:
    _, calls, _ = await read([CALL, CALL], asked(parallel_tool_calls=False))
    assert len(calls) == 1


async def test_a_named_tool_s_arguments_stream_as_they_come() -> None:
    request = asked(tool_choice="weather")
    text, calls, finished = await read(['{"city"', ': "Rome"}'], request)
    assert [call.arguments for call in calls] == ["", '{"city"', ': "Rome"}']
    assert (text, calls[0].name, calls[1].id, finished.reason) == (
        "",
        "weather",
        None,
        "tool_calls",
    )


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_a_required_call_s_arguments_stream_as_they_come(size: int) -> None:
    whole = '{"name": "weather", "arguments": {"city": {"name": "Rome"}}}'
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    text, calls, finished = await read(pieces, asked(tool_choice="required"))
    assert (text, finished.reason) == ("", "tool_calls")
    assert [call.name for call in calls if call.id] == ["weather"]
    assert "".join(call.arguments for call in calls) == '{"city": {"name": "Rome"}}'
    assert len(calls) > len(pieces) / 3, "they are not kept back"


async def test_a_required_call_whose_arguments_were_cut_is_a_call_with_a_part_of_them() -> None:
    pieces = ['{"name": "weather", "arguments": {"city": "Ro']
    text, calls, finished = await read(pieces, asked(tool_choice="required"), DONE_BY_LENGTH)
    assert (text, calls[0].name, finished.reason) == ("", "weather", "length")
    assert "".join(call.arguments for call in calls) == '{"city": "R'


@pytest.mark.parametrize("choice", ["weather", "required"])
async def test_what_fails_before_the_first_token_fails_before_the_call(choice: str) -> None:
    """Else a stream would have begun, and what should be a status would be a frame in it."""

    async def failing(*written: TokenEvent) -> AsyncGenerator[TokenEvent, None]:
        for event in written:
            yield event
        raise NotSupported("tools", "it cannot be")

    events = read_calls(failing(), asked(tool_choice=choice))
    with pytest.raises(NotSupported):
        await anext(events)


async def test_a_required_call_that_was_cut_stays_text() -> None:
    text, calls, _ = await read(['{"name": "clo'], asked(tool_choice="required"))
    assert (text, calls) == ('{"name": "clo', [])


@pytest.mark.parametrize("fields", [{"tool_choice": "money"}, {"tool_choice": "required"}])
def test_what_does_not_go_together_is_refused(fields: dict[str, str]) -> None:
    schema: dict[str, Any] = {"json_schema": {}} if fields["tool_choice"] == "required" else {}
    with pytest.raises(NotSupported) as refused:
        plain(asked(**fields, **schema))
    assert refused.value.field == "tool_choice"
