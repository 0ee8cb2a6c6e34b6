"""What clients of Anthropic's API send to `/v1/messages`, as the engine is asked."""

import json
from collections.abc import Sequence

from models.values import ChatMessage, GenerateRequest, Image, Tool, ToolCall
from tiffin.api.images import checked_image
from tiffin.api.schemas.messages import (
    Base64Source,
    CountRequest,
    ImageBlock,
    MessagesRequest,
    MessagesTool,
    TextBlock,
    ToolResult,
    ToolUse,
    Turn,
)
from tiffin.api.schemas.openai import RESERVED_TOOL_NAMES, chosen_tool
from tiffin.core.errors import InvalidRequest


def generate_request(body: MessagesRequest) -> GenerateRequest:
    """What the engine is asked. Raises InvalidRequest for fields that do not go together."""
    if body.messages[-1].role == "assistant":
        name = f"messages[{len(body.messages) - 1}]"
        text = f"{name}: the last turn must be the user's: no model here continues an answer"
        raise InvalidRequest(text, param=name)
    if any(not stop for stop in body.stop_sequences or ()):
        raise InvalidRequest("stop_sequences: none may be empty", param="stop_sequences")
    choice = body.tool_choice
    format_ = body.output_config.format if body.output_config else None
    return GenerateRequest(
        messages=conversation(body),
        max_tokens=body.max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        stop=list(body.stop_sequences or ()),
        tools=tools_of(body.tools),
        tool_choice=_tool_choice(body),
        parallel_tool_calls=not (choice and choice.disable_parallel_tool_use),
        json_schema=None if format_ is None else format_.schema_,
        strict_schema=format_ is not None,
    )


def conversation(body: CountRequest) -> list[ChatMessage]:
    """The turns, the system's first. Raises InvalidRequest for a block in the wrong turn."""
    turns = [ChatMessage("system", _text(body.system))] if body.system else []
    for index, turn in enumerate(body.messages):
        turns += _turns(turn, f"messages[{index}]")
    return turns


def tools_of(tools: Sequence[MessagesTool] | None) -> list[Tool]:
    """The tools. Raises InvalidRequest for a name that means something else here."""
    for index, tool in enumerate(tools or ()):
        if tool.name in RESERVED_TOOL_NAMES:
            name = f"tools[{index}].name"
            raise InvalidRequest(f"{name}: no tool can be named {tool.name!r}", param=name)
    return [
        Tool(tool.name, tool.description or "", tool.input_schema, tool.strict is True)
        for tool in tools or ()
    ]


def _tool_choice(body: MessagesRequest) -> str:
    choice = body.tool_choice
    names = [tool.name for tool in body.tools or ()]
    if choice is None:
        return "auto"
    if choice.type == "tool":
        return chosen_tool(None, choice.name or "", names)
    return chosen_tool("required" if choice.type == "any" else choice.type, None, names)


def _turns(turn: Turn, param: str) -> list[ChatMessage]:
    """One turn as the engine's: results of tools become turns of their own, before the rest."""
    if isinstance(turn.content, str):
        return [ChatMessage(turn.role, turn.content)]
    results: list[ChatMessage] = []
    calls: list[ToolCall] = []
    parts: list[str | Image] = []
    for index, block in enumerate(turn.content):
        where = f"{param}.content[{index}]"
        match block:
            case TextBlock():
                parts.append(block.text)
            case ImageBlock():
                _only(turn, "user", where, "hold an image")
                parts.append(_image(block, where))
            case ToolUse():
                _only(turn, "assistant", where, "call tools")
                calls.append(ToolCall(block.id, block.name, json.dumps(block.input)))
            case ToolResult():
                _only(turn, "user", where, "hold a tool's result")
                text = _text(block.content or "")
                said = f"Error: {text}" if block.is_error else text
                results.append(ChatMessage("tool", said, [], block.tool_use_id))
    texts = [part for part in parts if isinstance(part, str)]
    if not (parts or calls) and results:
        return results
    seen = parts if len(texts) < len(parts) else []
    return [*results, ChatMessage(turn.role, "\n".join(texts), calls, None, seen)]


def _only(turn: Turn, role: str, param: str, what: str) -> None:
    if turn.role != role:
        raise InvalidRequest(f"{param}: only a turn of the {role} may {what}", param=param)


def _image(block: ImageBlock, param: str) -> Image:
    source = block.source
    if isinstance(source, Base64Source):
        return checked_image(source.media_type, source.data, f"{param}.source")
    if not source.url.startswith("https://"):
        param = f"{param}.source.url"
        raise InvalidRequest(f"{param}: give an https address", param=param)
    return Image(source.url)


def _text(content: str | Sequence[TextBlock]) -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
