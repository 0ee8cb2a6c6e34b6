"""Tools for every engine: they become text in the prompt.

The text follows the Hermes convention, on which Qwen and many others are trained and which any chat
model can follow from the prompt, no matter what its chat template supports. A required or strict
call is enforced by a grammar: see `models.engines.constraint`. `models.engines.calls` reads the
calls from the answer.
"""

import json
from collections.abc import Sequence

import msgspec

from models.engines.markers import Guard, unguarded
from models.errors import NotSupported
from models.values import ChatMessage, GenerateRequest, Tool

OPEN, CLOSE = "<tool_call>", "</tool_call>"
LEFT_TO_THE_MODEL = frozenset({"auto", "none", "required"})

_TASK = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


def plain(request: GenerateRequest, guard: Guard = unguarded) -> GenerateRequest:
    """The same request without tools, which are described in the messages instead.

    What others wrote goes through `guard`; the tags around tools and calls are ours. Raises
    NotSupported for a choice that names no tool, or that excludes the `json_schema`.
    """
    messages = [_as_text(message, guard) for message in request.messages]
    choice = request.tool_choice
    if request.tools and choice != "none":
        messages = _with_tools(messages, request.tools, guard)
        if choice != "auto" and request.json_schema is not None:
            raise NotSupported("tool_choice", f"{choice!r} leaves no room for a JSON schema")
        if choice not in LEFT_TO_THE_MODEL and choice not in [tool.name for tool in request.tools]:
            raise NotSupported("tool_choice", f"there is no tool {choice!r}")
    return msgspec.structs.replace(request, messages=messages, tools=[])


def turns(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Messages without tools, as chat templates accept them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def _as_text(message: ChatMessage, guard: Guard) -> ChatMessage:
    """A turn with tool calls or a tool's answer, in a form that any template can render."""
    content = guard(message.role, message.content)
    if message.role == "tool":
        return ChatMessage("user", f"<tool_response>\n{content}\n</tool_response>")
    if not message.tool_calls:
        return msgspec.structs.replace(message, content=content)
    calls = []
    for call in message.tool_calls:
        text = f'{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}'
        calls.append(f"{OPEN}\n{guard('tool', text)}\n{CLOSE}")
    return ChatMessage(message.role, "\n".join([content, *calls]).strip())


def _with_tools(
    messages: list[ChatMessage], tools: Sequence[Tool], guard: Guard
) -> list[ChatMessage]:
    lines = []
    for tool in tools:
        function = msgspec.to_builtins(tool)
        del function["strict"]  # no concern of the model
        line = json.dumps({"type": "function", "function": function}, ensure_ascii=False)
        lines.append(guard("tool", line))
    task = _TASK.format(tools="\n".join(lines))
    if messages and messages[0].role == "system":
        return [ChatMessage("system", f"{messages[0].content}\n\n{task}"), *messages[1:]]
    return [ChatMessage("system", task), *messages]


def only_tool(tools: Sequence[Tool], choice: str) -> Tool | None:
    """The one tool that must be called, if the choice leaves only one."""
    if choice == "required":
        return tools[0] if len(tools) == 1 else None
    return next((tool for tool in tools if tool.name == choice), None)
