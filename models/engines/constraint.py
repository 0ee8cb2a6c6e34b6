"""Turns the constraints of an answer (a schema, tool calls, or either of them) into one grammar.

Called by `models.engines.constrained`, off the event loop. The calls have the form that
`models.engines.tools` shows to the model and `models.engines.calls` reads.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from models.engines.grammar import Grammar, checked, grammar_of, json_rule
from models.engines.tools import CLOSE, OPEN, only_tool
from models.errors import NotSupported
from models.values import GenerateRequest, Tool

NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
"""The arguments of a tool without parameters."""
ANYTHING: dict[str, Any] = {"type": "object"}
ANY_SPACE = r"[ \t\n]{0,16}"
TEXT = r'TEXT: /(.|\n)*/ & ~/[ \t\n]*\{[ \t\n]*"name"[ \t\n]*:(.|\n)*/'
"""Any text that does not begin like a call without tags, as `models.engines.calls` reads it."""


def is_constrained(request: GenerateRequest) -> bool:
    """Whether the request constrains the answer's form."""
    if request.json_schema is not None:
        return True
    if not request.tools or request.tool_choice == "none":
        return False
    return request.tool_choice != "auto" or any(tool.strict for tool in request.tools)


def constraint(request: GenerateRequest) -> Grammar:
    """The grammar of the answers that a constrained request allows.

    - If no tool may be called: JSON that fits the schema.
    - If a certain tool must be called: its arguments. If one of several: an object that names it.
    - If calls are left to the model: calls and any text, or calls instead of the schema's JSON.

    Takes about 1 ms, and up to 0.1 s for the largest schemas.
    Raises NotSupported for a schema that cannot be enforced.
    """
    schema, tools, choice = request.json_schema, request.tools, request.tool_choice
    if not tools or choice == "none":
        return grammar_of(schema or {})
    if (tool := only_tool(tools, choice)) is not None:
        return _of(tool)
    if choice == "required":
        return _of_calls("answer: function", tools, space=" ")
    # A tool that is not strict may be called with any arguments.
    called = [tool if tool.strict else Tool(tool.name, parameters=ANYTHING) for tool in tools]
    parallel = request.parallel_tool_calls
    rules = _beside_text(parallel) if schema is None else _in_place_of(schema, parallel)
    return _of_calls(f"{rules}\nSPACE: /{ANY_SPACE}/", called, space=ANY_SPACE)


def _beside_text(parallel: bool) -> str:  # noqa: FBT001
    """Any text in which a tag always opens a call; or calls without tags."""
    many, more = ("*", "(SPACE function)*") if parallel else ("?", "")
    return f"""answer: call{many} TEXT | function {more}
{TEXT}
opened[lazy]: TEXT {_text(OPEN)}
call: opened SPACE function SPACE {_text(CLOSE)}"""


def _in_place_of(schema: dict[str, Any], parallel: bool) -> str:  # noqa: FBT001
    """JSON that fits, or calls."""
    grammar_of(schema)  # its error, if there is one, names the schema
    return f"""answer: json | call {"(SPACE call)*" if parallel else ""}
json: {json_rule(schema)}
call: {_text(OPEN)} SPACE function SPACE {_text(CLOSE)}"""


def _of_calls(rules: str, tools: Sequence[Tool], space: str) -> Grammar:
    """The rules, with `function` for an object that has a tool's name and arguments."""
    try:
        function = " | ".join(_function(tool, space) for tool in tools)
        return checked(f"{rules}\nfunction: {function}")
    except NotSupported as error:
        for tool in tools:
            _of(tool)  # the error of a single tool names it
        raise NotSupported("tools", error.reason) from error


def _function(tool: Tool, space: str) -> str:
    """The object, with the given text between its parts and after the brace.

    It is one lexeme, like `TEXT`.
    """
    head = ['"name":', f'"{re.escape(tool.name)}",', '"arguments":', ""]
    before, after = ("", "") if space == " " else (space, "SPACE")
    return rf'/\{{{before}{space.join(head)}/ {json_rule(tool.parameters or NOTHING)} {after} "}}"'


def _of(tool: Tool) -> Grammar:
    """The tool's arguments."""
    try:
        return grammar_of(tool.parameters or NOTHING)
    except NotSupported as error:
        raise NotSupported("tools", f"{tool.name}: {error.reason}") from error


def _text(text: str) -> str:
    """The literal text, quoted for a grammar."""
    return json.dumps(text)
