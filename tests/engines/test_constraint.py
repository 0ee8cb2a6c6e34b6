"""What an answer is held to by the tools that it may or must call, and by a schema beside them."""

from typing import Any

import pytest

from models.engines.constraint import constraint, is_constrained
from models.errors import NotSupported
from models.values import ChatMessage, GenerateRequest, Tool

CITY = {"type": "object", "properties": {"city": {"enum": ["Rome"]}}, "required": ["city"]}
WEATHER = Tool("weather", "Of a city.", CITY)
STRICT = Tool("weather", "Of a city.", CITY, strict=True)
CLOCK = Tool("o-clock_1")
NO_GRAMMAR = {"type": "array", "uniqueItems": True}


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def inside(tags: str) -> str:
    """The call without its tags, as some models write it."""
    return tags.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")


GOOD, BAD = call("weather", '{"city": "Rome"}'), call("weather", '{"city": "Paris"}')


def asked(*tools: Tool, **fields: Any) -> GenerateRequest:
    return GenerateRequest(messages=[ChatMessage("user", "Well?")], tools=list(tools), **fields)


def allows(request: GenerateRequest, text: str) -> bool:
    matcher = constraint(request).matcher
    return matcher.consume_tokens(list(text.encode())) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("request_", "constrained"),
    [
        (asked(), False),
        (asked(json_schema={}), True),
        (asked(WEATHER), False),
        (asked(STRICT), True),
        (asked(WEATHER, CLOCK, tool_choice="required"), True),
        (asked(WEATHER, tool_choice="weather"), True),
        (asked(STRICT, tool_choice="none"), False),
    ],
)
def test_who_is_held_to_something(request_: GenerateRequest, constrained: bool) -> None:
    assert is_constrained(request_) == constrained


@pytest.mark.parametrize(
    "request_",
    [asked(WEATHER, tool_choice="required"), asked(CLOCK, WEATHER, tool_choice="weather")],
)
def test_the_only_tool_s_arguments_are_the_answer(request_: GenerateRequest) -> None:
    assert allows(request_, '{"city": "Rome"}')
    assert not allows(request_, '{"city": "Paris"}')


def test_a_required_call_is_one_of_the_tools() -> None:
    request = asked(WEATHER, CLOCK, tool_choice="required")
    assert allows(request, '{"name": "weather", "arguments": {"city": "Rome"}}')
    assert allows(request, '{"name": "o-clock_1", "arguments": {}}')
    assert not allows(request, '{"name": "o-clock_1", "arguments": {"a": 1}}'), "it takes none"
    assert not allows(request, '{"name": "weather", "arguments": {}}')
    assert not allows(request, '{"name": "money", "arguments": {}}')


def test_the_definitions_of_several_tools_do_not_meet() -> None:
    def with_definition(name: str, value: str) -> Tool:
        city = {"$ref": "#/$defs/City"}
        definitions = {"City": {"const": value}}
        properties = {"properties": {"city": city}, "required": ["city"]}
        return Tool(name, "", {"type": "object", **properties, "$defs": definitions})

    tools = [with_definition("a", "Rome"), with_definition("b", "Paris")]
    request = asked(*tools, tool_choice="required")
    assert allows(request, '{"name": "b", "arguments": {"city": "Paris"}}')
    assert not allows(request, '{"name": "b", "arguments": {"city": "Rome"}}')


def test_a_strict_tool_is_called_with_what_fits_or_not_at_all() -> None:
    request = asked(STRICT, CLOCK)
    for text in ("", "Well, a < b.", '{"city": 1}', "Let me see. " + GOOD, f"{GOOD}\n{GOOD}"):
        assert allows(request, text), text
    spread = '{\n  "name": "weather",\n  "arguments": {"city": "Rome"}\n}'
    for text in (inside(GOOD), f"{inside(GOOD)}\n{inside(GOOD)}", spread):
        assert allows(request, text), text
    assert allows(request, call("o-clock_1", '{"zone": [1]}')), "what is not strict is free"
    for text in (BAD, inside(BAD), call("money", "{}"), "<tool_call>what?", GOOD[:-20]):
        assert not allows(request, text), text


def test_beside_a_schema_tools_may_still_be_called() -> None:
    request = asked(WEATHER, CLOCK, json_schema={"const": 5})
    for text in ("5", GOOD, f"{GOOD}\n{GOOD}"):
        assert allows(request, text), text
    for text in ("6", "Well", "5" + GOOD, GOOD + "5"):
        assert not allows(request, text), text


def test_calls_that_may_not_be_parallel_are_one() -> None:
    assert not allows(
        asked(WEATHER, json_schema={"const": 5}, parallel_tool_calls=False), f"{GOOD}\n{GOOD}"
    )


@pytest.mark.parametrize(
    "fields", [{}, {"tool_choice": "required"}, {"tool_choice": "late"}, {"json_schema": {}}]
)
def test_a_tool_that_cannot_be_held_to_is_named(fields: dict[str, Any]) -> None:
    late = Tool("late", "", NO_GRAMMAR, strict=True)
    with pytest.raises(NotSupported, match=r"late: .*uniqueItems") as refused:
        constraint(asked(CLOCK, late, **fields))
    assert refused.value.field == "tools"


def test_of_a_schema_and_tools_the_one_at_fault_is_named() -> None:
    with pytest.raises(NotSupported) as refused:
        constraint(asked(STRICT, json_schema=NO_GRAMMAR))
    assert refused.value.field == "json_schema"
