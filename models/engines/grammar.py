"""Turns JSON schemas into grammars for llguidance, which both LLM engines have built in.

By default the engines silently skip what they do not know: llama.cpp the bounds of a number,
`multipleOf` and a pattern's digit class; vLLM, whose default is xgrammar, `not`, `if` and
`dependentRequired`. llguidance knows most keywords and reports those that it does not. Inside an
engine no one would see its report, so it is asked here first. Used by `models.engines.constraint`.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from models.errors import NotSupported

ON_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""White space as Python writes it. If it is free, a small model may write nothing else."""

LIMITS = LLParserLimits(max_grammar_size=50_000, initial_lexer_fuel=100_000)
"""A tenth of llguidance's own limits, so that the older version in llama.cpp accepts the same."""

BYTES = LLTokenizer("byte")
"""A tokenizer whose tokens are bytes, so that a matcher can follow the text of any model."""

COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties", "multipleOf")
MOST = 10_000
MOST_PROPERTIES = 400
MOST_REPETITIONS = 100_000
"""The most repetitions of a pattern's part, nested counts multiplied. Beyond that, llguidance gives
up in the middle of an answer."""

LARGEST = 10**18
"""The largest integer: those near 64 bits crash llguidance, and the process with it."""

_IN_A_PATH = r"([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_AFTER_A_PATH = rf"({_IN_A_PATH}|[/?])*"
URI = (
    rf"^[A-Za-z][A-Za-z0-9+.-]*:(//([A-Za-z0-9._~-]+@)?[A-Za-z0-9.-]+(:[0-9]{{1,5}})?(/{_IN_A_PATH}*)*"
    rf"|{_IN_A_PATH}+(/{_IN_A_PATH}*)*)(\?{_AFTER_A_PATH})?(#{_AFTER_A_PATH})?$"
)
"""Most of RFC 3986, for the format `uri`, which the older llguidance in llama.cpp does not know."""

NUMBER_FORMATS: dict[str, dict[str, int]] = {
    **{
        f"int{bits}": {"minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}
        for bits in (8, 16, 32)
    },
    **{f"uint{bits}": {"minimum": 0, "maximum": 2**bits - 1} for bits in (8, 16, 32)},
    "uint64": {"minimum": 0},
    "int64": {},
    "float": {},
    "double": {},
}
"""OpenAPI's formats of numbers, as bounds. llguidance reads over a number's format."""

HARMLESS = ({"uniqueItems": False}, {"format": "password"})
"""Keywords that allow everything, and that llguidance refuses nevertheless."""

_FAILED = "failed to compile JSON schema: "
_QUOTED = re.compile(r"\n +\d+ \| ")
"""The beginning of the lines in an error that quote the grammar."""

_LOWER = frozenset({"minimum", "exclusiveMinimum"})
_UPPER = frozenset({"maximum", "exclusiveMaximum"})
_VALUES = frozenset({"enum", "const", "default", "examples"})
_BY_NAME = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
)
_OPEN_BY = frozenset(
    {"additionalProperties", "patternProperties", "unevaluatedProperties", "anyOf", "oneOf", "$ref"}
)


@dataclass(frozen=True)
class Grammar:
    """What an answer may be: the rules for the engines, and a matcher at its beginning.

    It serves one answer, because copies of a matcher use up one budget together.
    """

    rules: str
    matcher: LLMatcher

    def text(self, end_token: int | None = None) -> str:
        """The grammar for an engine. `end_token` may end the answer, like the engine's own."""
        return _whole(self.rules, "" if end_token is None else f"<[{end_token}]>?")


def _whole(rules: str, ending: str = "") -> str:
    return f"%llguidance {{}}\nstart: answer {ending}\n{rules}"


def grammar_of(schema: dict[str, Any]) -> Grammar:
    """The grammar of all JSON that fits the schema; `{}` stands for any object.

    Raises NotSupported for a schema that cannot be enforced.
    """
    return checked(f"answer: {json_rule(schema)}")


def json_rule(schema: dict[str, Any]) -> str:
    """The schema as a part of a grammar. Raises NotSupported for sizes beyond the limits."""
    schema = schema or {"type": "object"}
    closes = not _has_all_of(schema)  # else the parts of one object would close it to each other
    schema = {**_narrowed(schema, closes=closes), "x-guidance": ON_ONE_LINE}
    _check_size(schema)
    return f"%json {json.dumps(schema)}"


def checked(rules: str) -> Grammar:
    """The grammar of these rules. Raises NotSupported if one of their schemas is at fault."""
    text = _whole(rules)
    if problem := _problem(text):
        reason = problem.partition(_FAILED)[2] or problem
        raise _refused(" ".join(_QUOTED.split(reason)[0].split()))
    return Grammar(rules, LLMatcher(BYTES, text, log_level=0))


def _problem(text: str) -> str:
    """What llguidance objects to in a grammar; empty if it accepts the grammar."""
    try:
        return str(LLMatcher.validate_grammar(text, limits=LIMITS))
    except BaseException as panic:
        # Its Rust code panics on some of its own messages, with an error that cannot be imported.
        if type(panic).__name__ != "PanicException":
            raise
        return "llguidance cannot read it"


def _has_all_of(node: Any) -> bool:  # noqa: ANN401  JSON
    if isinstance(node, list):
        return any(map(_has_all_of, node))
    return isinstance(node, dict) and ("allOf" in node or any(map(_has_all_of, node.values())))


def _check_size(node: Any) -> None:  # noqa: ANN401  JSON
    if isinstance(node, list):
        for item in node:
            _check_size(item)
    if isinstance(node, int) and abs(node) > LARGEST:
        raise _refused(f"{node}: whole numbers are at most {LARGEST:,}")
    if not isinstance(node, dict):
        return
    for key in COUNTS:
        if isinstance(node.get(key), int | float) and node[key] > MOST:
            raise _refused(f"{key}: {node[key]:,}, the limit is {MOST:,}")
    named, pattern = node.get("properties"), node.get("pattern")
    if isinstance(named, dict) and len(named) > MOST_PROPERTIES:
        raise _refused(f"properties: {len(named):,} of them, the limit is {MOST_PROPERTIES}")
    if isinstance(pattern, str) and _repetitions(pattern) > MOST_REPETITIONS:
        raise _refused(f"pattern: the limit is {MOST_REPETITIONS:,} repetitions")
    for value in node.values():
        _check_size(value)


def _repetitions(pattern: str) -> int:
    counts = (int(count[:9]) for count in re.findall(r"(?<=[{,])\d+(?=[,}])", pattern))
    return math.prod(max(1, count) for count in counts)


def _narrowed(node: Any, *, closes: bool) -> Any:  # noqa: ANN401  JSON
    """The schema, narrowed where it allows anything, so that a small model reaches the end.

    Objects get no properties beyond those named, unless they mention others or `closes` is false.
    Integers without bounds must fit a double, and larger bounds are reduced. A `uri` becomes a
    pattern, and a format of numbers bounds.
    """
    if isinstance(node, list):
        return [_narrowed(item, closes=closes) for item in node]
    if not isinstance(node, dict):
        return node
    node = _with_bounds(node)
    narrowed = {key: _part(key, value, closes=closes) for key, value in node.items()}
    if node.get("format") == "uri":
        if "pattern" in node:
            raise _refused("format: uri cannot be combined with a pattern")
        del narrowed["format"]
        narrowed["pattern"] = URI
    if closes and _names_all(node):
        narrowed["additionalProperties"] = False
    if closes and node.get("type") == "integer" and not (_LOWER | _UPPER) & set(node):
        narrowed |= {"minimum": 1 - 2**53, "maximum": 2**53 - 1}
    return narrowed


def _with_bounds(node: dict[str, Any]) -> dict[str, Any]:
    """The schema without what allows everything, and with the bounds of its number's format."""
    kept = {key: value for key, value in node.items() if {key: value} not in HARMLESS}
    named = node.get("type")
    types = {named} if isinstance(named, str) else set(map(str, named or ()))
    if "format" not in kept or not types or not types <= {"integer", "number", "null"}:
        return kept
    format_ = kept.pop("format")
    if not isinstance(format_, str) or format_ not in NUMBER_FORMATS:
        raise _refused(f"Unknown format: {format_} (of a number)")
    for bound, tightest in (("minimum", max), ("maximum", min)):
        given = kept.get(bound)
        if (limit := NUMBER_FORMATS[format_].get(bound)) is not None:
            kept[bound] = tightest(given, limit) if isinstance(given, int | float) else limit
    return kept


def _part(key: str, value: Any, *, closes: bool) -> Any:  # noqa: ANN401  JSON
    """The narrowed value of a schema's key: schemas, schemas by name, a value, or a bound."""
    if key in _VALUES:
        return value
    if key in _BY_NAME and isinstance(value, dict):
        return {name: _narrowed(schema, closes=closes) for name, schema in value.items()}
    if isinstance(value, int) and key in _LOWER:
        return max(value, -LARGEST)
    if isinstance(value, int) and key in _UPPER:
        return min(value, LARGEST)
    return _narrowed(value, closes=closes)


def _names_all(node: dict[str, Any]) -> bool:
    """Whether an object's schema names all properties that it mentions."""
    named, required = node.get("properties"), node.get("required", [])
    if not isinstance(named, dict) or not isinstance(required, list) or _OPEN_BY & set(node):
        return False
    return all(isinstance(name, str) and name in named for name in required)


def _refused(reason: str) -> NotSupported:
    return NotSupported("json_schema", reason)
