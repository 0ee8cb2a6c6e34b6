"""Schemas as llama.cpp is given them: held to, or refused by what they ask for."""

from typing import Any

import pytest

from models.engines.grammar import grammar_of
from models.errors import NotSupported

STRING: dict[str, Any] = {"type": "string"}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        {"type": "integer", "multipleOf": 7},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": "string", "pattern": r"^\d{3}-\w+$"},
        {"type": "string", "format": "email"},
        {"type": "object", "patternProperties": {"^x": STRING}, "additionalProperties": False},
        {"type": "array", "prefixItems": [STRING, {"type": "integer"}], "minItems": 2},
        {
            "$ref": "#/$defs/Tree",
            "$defs": {"Tree": {"properties": {"a": {"$ref": "#/$defs/Tree"}}}},
        },
        {"allOf": [{"properties": {"a": STRING}}, {"properties": {"b": STRING}}]},
        {"title": "T", "description": "D", "default": {}, "examples": [{}], "x-ours": 1},
        {"type": "object", "properties": {"required": STRING, "enum": STRING, "maxItems": STRING}},
    ],
)
def test_what_it_can_hold_an_answer_to(schema: dict[str, Any]) -> None:
    assert grammar_of(schema).rules.startswith("answer: %json")


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "strange"}, "Invalid type: strange"),
        ({"type": "object", "properties": {"a": {"not": STRING}}}, 'Unimplemented keys: ["not"]'),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"if": {}, "then": STRING}, '"if", "then"'),
        ({"type": "string", "pattern": "^(?=a)"}, "look-ahead"),
        ({"type": "string", "pattern": "^[("}, "unclosed character class"),
        ({"type": "string", "format": "strange"}, "Unknown format"),
        ({"type": "integer", "format": "strange"}, "Unknown format"),
        ({"type": "number", "format": ["int32"]}, "Unknown format"),
        ({"$ref": "#/$defs/nowhere"}, "does not exist"),
        ({"$ref": "https://example.org/schema"}, "does not fetch"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"type": "object", "required": "a"}, "Expected array"),
        ({"properties": {"a": STRING}, "required": 5}, "Expected array for 'required'"),
        ({"properties": {"a": STRING}, "required": [["a"]]}, "required"),
        (
            {"type": "string", "format": "uri", "pattern": "a"},
            "uri cannot be combined with a pattern",
        ),
        ({"const": -(2**63)}, "-9223372036854775808: whole numbers are at most"),
        ({"enum": [{"a": [2**63 - 1]}]}, "9223372036854775807: whole numbers are at most"),
        ({"type": "integer", "minimum": 2**63 - 1}, "whole numbers are at most"),
        ({"type": "integer", "maximum": -(2**63)}, "whole numbers are at most"),
        ({"type": "string", "maxLength": "é" * 60}, "cannot read it"),
        ({"enum": []}, "empty"),
        ({"type": "array", "items": STRING, "maxItems": 10**9}, "1,000,000,000, the limit is"),
        ({"type": "integer", "multipleOf": 10**6}, "multipleOf: 1,000,000, the limit is"),
        ({"type": "string", "pattern": "^(a{1000}){1000}$"}, "repetitions"),
        ({"properties": {f"p{number}": STRING for number in range(401)}}, "401 of them"),
        ({"enum": list(range(100_000))}, "too big"),
    ],
)
def test_what_it_cannot_is_refused(schema: dict[str, Any], says: str) -> None:
    with pytest.raises(NotSupported) as refused:
        grammar_of(schema)
    assert refused.value.field == "json_schema"
    assert says in str(refused.value)
    assert "%llguidance" not in str(refused.value)


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({"type": "integer", "format": "int32"}, "2147483647", "2147483648"),
        ({"type": "integer", "format": "int32"}, "-2147483648", "-2147483649"),
        ({"type": "integer", "format": "uint8"}, "255", "-1"),
        ({"type": "integer", "format": "int8", "maximum": 3, "minimum": -999}, "-128", "4"),
        ({"type": "integer", "format": "int64"}, "12321232123", "1.5"),
        ({"type": ["number", "null"], "format": "double"}, "null", '"a"'),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": False}, "[1, 1]", '["a"]'),
        ({"type": "string", "format": "password"}, '"a"', "1"),
    ],
)
def test_a_format_of_numbers_is_held_and_what_allows_everything_is_harmless(
    schema: dict[str, Any], fits: str, does_not: str
) -> None:
    def allows(text: str) -> bool:
        matcher = grammar_of({"type": "object", "properties": {"a": schema}, "required": ["a"]})
        return matcher.matcher.consume_tokens(list(f'{{"a": {text}}}'.encode()))

    assert allows(fits)
    assert not allows(does_not)


def test_a_property_may_have_a_keyword_s_name() -> None:
    uri = {"type": "string", "format": "uri"}
    rules = grammar_of({"type": "object", "properties": {"default": uri, "format": uri}}).rules
    assert '"format": "uri"' not in rules
    assert '{"const": {"format": "uri"}' in grammar_of({"const": {"format": "uri"}}).rules


def test_what_a_schema_leaves_open_is_narrowed() -> None:
    named = {"properties": {"a": STRING}}
    closed = '"additionalProperties": false'
    assert closed in grammar_of(named).rules
    assert closed in grammar_of({"type": "array", "items": named}).rules
    assert '"maximum": 9007199254740991' in grammar_of({"type": "integer"}).rules
    for schema in (
        {**named, "required": ["b"]},
        {**named, "additionalProperties": STRING},
        {"allOf": [named, {"properties": {"b": STRING}}]},
        {"const": named},
    ):
        assert closed not in grammar_of(schema).rules
