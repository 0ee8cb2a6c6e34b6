"""Tool calls for every engine: tools become text in the prompt, calls are read from the answer.

The text is the Hermes convention, which Qwen and many others are trained on and any chat model can
follow from the prompt, whatever its chat template knows. A call that must come (`tool_choice`
required, or a tool's name), or is strict, is not left to the model's good will: see
`models.engines.constraint`. `plain` is called before the template, `read_calls` on the events.
"""

import json
import re
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from models.errors import NotSupported
from models.values import (
    ChatMessage,
    Finished,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallDelta,
)

OPEN, CLOSE = "<tool_call>", "</tool_call>"
LEFT_TO_THE_MODEL = frozenset({"auto", "none", "required"})

_CALLED = re.compile(r'\{"name": "([^"]+)", "arguments": ')
"""How the grammar of a required call begins."""

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


def plain(request: GenerateRequest) -> GenerateRequest:
    """The same request without tools: their text stands in the messages.

    Raises NotSupported for a choice that names no tool, or beside a `json_schema`.
    """
    messages = [_as_text(message) for message in request.messages]
    choice = request.tool_choice
    if request.tools and choice != "none":
        messages = _with_tools(messages, request.tools)
        if choice != "auto" and request.json_schema is not None:
            raise NotSupported("tool_choice", f"{choice!r} leaves no room for a JSON schema")
        if choice not in LEFT_TO_THE_MODEL and choice not in [tool.name for tool in request.tools]:
            raise NotSupported("tool_choice", f"there is no tool {choice!r}")
    return msgspec.structs.replace(request, messages=messages, tools=[])


def turns(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Messages without tools as chat templates take them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def read_calls(
    events: AsyncGenerator[TokenEvent, None], request: GenerateRequest
) -> AsyncGenerator[TokenEvent, None]:
    """The events of an answer to `plain(request)`, with the calls that its text holds."""
    if not request.tools or request.tool_choice == "none":
        return events
    if request.tool_choice == "auto":
        # Beside a schema, JSON is the answer.
        names = [] if request.json_schema is not None else [tool.name for tool in request.tools]
        return _read_free(events, names, one=not request.parallel_tool_calls)
    if (tool := only_tool(request.tools, request.tool_choice)) is not None:
        return _read_arguments(events, tool.name)
    return _read_required(events)


def _as_text(message: ChatMessage) -> ChatMessage:
    """A turn that calls or answers tools, as any template can render it."""
    if message.role == "tool":
        return ChatMessage("user", f"<tool_response>\n{message.content}\n</tool_response>")
    if not message.tool_calls:
        return message
    calls = [
        f'{OPEN}\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}\n{CLOSE}'
        for call in message.tool_calls
    ]
    return ChatMessage(message.role, "\n".join([message.content, *calls]).strip())


def _with_tools(messages: list[ChatMessage], tools: Sequence[Tool]) -> list[ChatMessage]:
    lines = []
    for tool in tools:
        function = msgspec.to_builtins(tool)
        del function["strict"]  # no concern of the model
        lines.append(json.dumps({"type": "function", "function": function}, ensure_ascii=False))
    task = _TASK.format(tools="\n".join(lines))
    if messages and messages[0].role == "system":
        return [ChatMessage("system", f"{messages[0].content}\n\n{task}"), *messages[1:]]
    return [ChatMessage("system", task), *messages]


def only_tool(tools: Sequence[Tool], choice: str) -> Tool | None:
    """The one tool that must be called, if the choice leaves only one."""
    if choice == "required":
        return tools[0] if len(tools) == 1 else None
    return next((tool for tool in tools if tool.name == choice), None)


async def _read_arguments(
    events: AsyncGenerator[TokenEvent, None], name: str
) -> AsyncGenerator[TokenEvent, None]:
    """All text is the arguments of one call. What fails before the first event stays that early."""
    begun = False
    async with aclosing(events):
        async for event in events:
            if not begun:
                yield ToolCallDelta(0, "", _new_id(), name)
                begun = True
            match event:
                case TextDelta():
                    yield ToolCallDelta(0, event.text)
                case Finished():
                    yield _called(event)


async def _read_required(
    events: AsyncGenerator[TokenEvent, None],
) -> AsyncGenerator[TokenEvent, None]:
    """All text is one object with a name and arguments, which come as they are written."""
    held = ""
    begun = False
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                # Held is the object's own closing brace, or what was cut before the arguments.
                if not begun and held:
                    yield TextDelta(held)
                yield _called(event) if begun else event
            elif isinstance(event, TextDelta):
                held += event.text
                if not begun and (head := _CALLED.match(held)):
                    begun, held = True, held[head.end() :]
                    yield ToolCallDelta(0, "", _new_id(), head[1])
                if begun and held[:-1]:
                    yield ToolCallDelta(0, held[:-1])
                    held = held[-1:]


async def _read_free(
    events: AsyncGenerator[TokenEvent, None], names: Sequence[str], *, one: bool
) -> AsyncGenerator[TokenEvent, None]:
    """Text with calls between their tags, or calls of these names alone, which lack the tags.

    Some models, such as Qwen2.5-Coder, leave the tags out. A call that is no valid JSON stays text.
    """
    held = ""
    logprobs: list[TokenLogprob] = []
    calls = 0
    bare = True
    async with aclosing(events):
        async for event in events:
            last = isinstance(event, Finished)
            if isinstance(event, TextDelta):
                held += event.text
                logprobs += event.logprobs
            bare = bare and _may_be_bare(held, names)
            if bare and not last:
                continue
            if bare and (pieces := _bare(held, names)):
                held = ""
            else:
                pieces, held = _split(held, last=last)
            for piece in pieces:
                if isinstance(piece, str):
                    if not calls or piece.strip():  # no white space between and after calls
                        yield TextDelta(piece, logprobs)
                        logprobs = []
                elif not (one and calls):
                    yield _delta(calls, piece)
                    calls += 1
            if isinstance(event, Finished):
                yield _called(event) if calls else event


def _may_be_bare(text: str, names: Sequence[str]) -> bool:
    """Whether the text may be the beginning of a call of one of these tools, without tags."""
    head = "".join(text.split())
    heads = [f'{{"name":"{name}"' for name in names]
    return any(one.startswith(head[: len(one)]) for one in heads)


def _bare(text: str, names: Sequence[str]) -> list[str | ToolCall]:
    """The calls of these tools that the text consists of; none if there is anything else."""
    calls: list[str | ToolCall] = []
    try:
        while text := text.lstrip():
            _, end = json.JSONDecoder().raw_decode(text)
            call = _parse(text[:end])
            if call is None or call.name not in names:
                return []
            calls.append(call)
            text = text[end:]
    except ValueError:
        return []
    return calls


def _split(held: str, *, last: bool) -> tuple[list["str | ToolCall"], str]:
    """What can be passed on of the text so far, and what must wait for the text to come."""
    pieces: list[str | ToolCall] = []
    while OPEN in held:
        before, _, inside = held.partition(OPEN)
        body, closed, after = inside.partition(CLOSE)
        if not closed and not last:
            return pieces + [before] * bool(before), held[len(before) :]
        call = _parse(body)
        pieces += [before] if before else []
        pieces.append(call or f"{OPEN}{body}{closed}")
        held = after
    wait = 0 if last else _begun(held)
    ready = held[: len(held) - wait]
    return pieces + [ready] * bool(ready), held[len(held) - wait :]


def _begun(text: str) -> int:
    """How many of the last characters may be the beginning of a call's tag."""
    return next((n for n in range(len(OPEN) - 1, 0, -1) if text.endswith(OPEN[:n])), 0)


def _parse(text: str) -> ToolCall | None:
    """The call that a JSON object describes, or None."""
    try:
        call = json.loads(text)
        name, arguments = call["name"], call.get("arguments", {})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not isinstance(name, str):
        return None
    return ToolCall(_new_id(), name, json.dumps(arguments, ensure_ascii=False))


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _delta(index: int, call: ToolCall) -> ToolCallDelta:
    return ToolCallDelta(index, call.arguments, call.id, call.name)


def _called(finished: Finished) -> Finished:
    """The end of an answer that calls; one that was cut stays cut."""
    return finished if finished.reason == "length" else Finished("tool_calls", finished.usage)
