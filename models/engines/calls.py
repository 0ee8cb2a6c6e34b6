"""Reads tool calls from an answer, in the form that `models.engines.tools` shows to the model.

The engines call it on the events of an answer as they arrive.
"""

import json
import re
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from models.engines.tools import CLOSE, OPEN, only_tool
from models.values import (
    Finished,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)

_CALLED = re.compile(r'\{"name": "([^"]+)", "arguments": ')
"""How the grammar of a required call begins."""


def read_calls(
    events: AsyncGenerator[TokenEvent, None], request: GenerateRequest
) -> AsyncGenerator[TokenEvent, None]:
    """The events of an answer to `plain(request)`, with the calls found in its text."""
    if not request.tools or request.tool_choice == "none":
        return events
    if request.tool_choice == "auto":
        # With a schema, JSON without tags is the answer and not a call.
        names = [] if request.json_schema is not None else [tool.name for tool in request.tools]
        return _read_free(events, names, one=not request.parallel_tool_calls)
    if (tool := only_tool(request.tools, request.tool_choice)) is not None:
        return _read_arguments(events, tool.name)
    return _read_required(events)


async def _read_arguments(
    events: AsyncGenerator[TokenEvent, None], name: str
) -> AsyncGenerator[TokenEvent, None]:
    """Read all text as the arguments of one call. An early error stays before the first event."""
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
    """Read all text as one object with a name and arguments; the arguments are streamed."""
    held = ""
    begun = False
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                # The rest is the object's closing brace, or text that was cut before the arguments.
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
    """Read text with calls between tags, or nothing but calls of these names without tags.

    Some models, such as Qwen2.5-Coder, omit the tags. A call that is not valid JSON stays text.
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
    """Whether the text may be the beginning of a call of one of these tools without tags."""
    head = "".join(text.split())
    heads = [f'{{"name":"{name}"' for name in names]
    return any(one.startswith(head[: len(one)]) for one in heads)


def _bare(text: str, names: Sequence[str]) -> list[str | ToolCall]:
    """The calls of these tools that make up the text; none if it contains anything else."""
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
    """The part of the text that can be passed on, and the part that must wait for more text."""
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
    """The last event of an answer with calls; if the answer was cut, that reason stays."""
    return finished if finished.reason == "length" else Finished("tool_calls", finished.usage)
