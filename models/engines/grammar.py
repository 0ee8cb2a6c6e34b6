"""JSON schemas as grammars for llama.cpp, by llguidance, which its wheel has built in.

Given a `json_schema`, llama.cpp itself leaves out without a word what it does not know: the bounds
of a number, `multipleOf`, a digit's `d` in a pattern. llguidance knows these, and says what it does
not know; but inside of llama.cpp nobody would hear it, so it is asked here first.
"""

import json
import math
import re
from typing import Any

from llguidance import LLMatcher, LLParserLimits

from models.errors import NotSupported

ON_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""As Python writes JSON. Where white space is free, a small model may write nothing else."""

LIMITS = LLParserLimits(max_grammar_size=50_000, initial_lexer_fuel=100_000)
"""A tenth of llguidance's own, so that the older one in llama.cpp takes whatever passes here."""

COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties", "multipleOf")
MOST = 10_000
MOST_PROPERTIES = 400
MOST_REPETITIONS = 100_000
"""Of a pattern's part, all its counts multiplied. Beyond these it gives up amid an answer."""

_FAILED = "failed to compile JSON schema: "
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_OPEN_BY = frozenset(
    {"additionalProperties", "patternProperties", "unevaluatedProperties", "anyOf", "oneOf", "$ref"}
)


def grammar_of(schema: dict[str, Any]) -> str:
    """The grammar of all JSON that fits; `{}` stands for any object.

    Raises NotSupported for what it cannot hold an answer to.
    """
    schema = schema or {"type": "object"}
    _check_size(schema)
    if '"allOf"' not in json.dumps(schema):  # its parts share one object
        schema = _narrowed(schema)
    schema = {**schema, "x-guidance": ON_ONE_LINE}
    grammar = f"%llguidance {{}}\nstart: %json {json.dumps(schema)}"
    if problem := LLMatcher.validate_grammar(grammar, limits=LIMITS):
        reason = problem.partition(_FAILED)[2] or problem
        raise _refused(" ".join(reason.partition("\n   1 | ")[0].split()))
    return grammar


def _check_size(node: Any) -> None:  # noqa: ANN401  JSON
    if isinstance(node, list):
        for item in node:
            _check_size(item)
    if not isinstance(node, dict):
        return
    for key in COUNTS:
        if isinstance(node.get(key), int | float) and node[key] > MOST:
            raise _refused(f"{key}: {node[key]:,}, the limit is {MOST:,}")
    named, pattern = node.get("properties"), node.get("pattern")
    if isinstance(named, dict) and len(named) > MOST_PROPERTIES:
        raise _refused(f"properties: {len(named):,} of them, the limit is {MOST_PROPERTIES}")
    if isinstance(pattern, str):
        counts = (int(count[:9]) for count in re.findall(r"(?<=[{,])\d+(?=[,}])", pattern))
        if math.prod(max(1, count) for count in counts) > MOST_REPETITIONS:
            raise _refused(f"pattern: the limit is {MOST_REPETITIONS:,} repetitions")
    for value in node.values():
        _check_size(value)


def _narrowed(node: Any) -> Any:  # noqa: ANN401  JSON
    """The same, with less where it leaves all open, so that a small model comes to its end.

    Objects have no other properties than they name, unless they speak of others; whole numbers
    without bounds fit a double.
    """
    if isinstance(node, list):
        return [_narrowed(item) for item in node]
    if not isinstance(node, dict):
        return node
    narrowed = {
        key: value if key in {"enum", "const"} else _narrowed(value) for key, value in node.items()
    }
    named, required = node.get("properties"), node.get("required", [])
    if isinstance(named, dict) and set(required) <= set(named) and not _OPEN_BY & set(node):
        narrowed["additionalProperties"] = False
    if node.get("type") == "integer" and not _BOUNDS & set(node):
        narrowed |= {"minimum": 1 - 2**53, "maximum": 2**53 - 1}
    return narrowed


def _refused(reason: str) -> NotSupported:
    return NotSupported("json_schema", reason)
