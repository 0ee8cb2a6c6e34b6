"""Tools and thoughts as a model was trained on them, for vLLM: its template writes, vLLM reads.

The chat template puts tools and earlier calls into the prompt, and vLLM's parsers find calls and
thoughts in the answer. The vLLM engine calls this module for models that have such parsers; all
others see tools as text: `models.engines.tools`. Importing vLLM takes seconds, so functions do it.
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from models.engines.markers import Guard
from models.values import (
    ChatMessage,
    Finished,
    GenerateRequest,
    Role,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    Tool,
    ToolCallDelta,
)
from models.vllm_parsers import Parsers, parsers_for

_OURS = "hermes"
"""The parser whose calls look as those that our grammar writes for a strict tool."""


class ChatParsers:
    """vLLM's parsers for one model: those that are named, or else those that are found.

    Raises TypeError if vLLM does not know a parser that is named, or cannot use it for this model.
    """

    def __init__(self, named: Parsers | None, tokenizer: Any, model_type: str) -> None:  # noqa: ANN401
        from vllm.parser import ParserManager

        hello = [{"role": "user", "content": "Hello"}]
        prompt = tokenizer.apply_chat_template(hello, add_generation_prompt=True, tokenize=False)
        parsers = named or parsers_for(model_type, str(tokenizer.chat_template), prompt)
        self._parsers = parsers
        self._tokenizer = tokenizer
        self._class = ParserManager.get_parser(
            tool_parser_name=parsers.tools,
            reasoning_parser_name=parsers.reasoning,
            enable_auto_tools=parsers.tools is not None,
            is_harmony=model_type == "gpt_oss",
            tokenizer=tokenizer,
        )

    def take_tools(self, request: GenerateRequest) -> bool:
        """Whether the template shows these tools and vLLM reads the calls.

        A call that is enforced is written by our grammar and read by ours.
        """
        strict = any(tool.strict for tool in request.tools) and self._parsers.tools != _OURS
        left_to_the_model = request.tool_choice == "auto" and request.json_schema is None
        named = self._parsers.tools is not None and bool(request.tools)
        return named and left_to_the_model and not strict

    def reader(self, request: GenerateRequest) -> "AnswerReader | None":
        """What reads the answer to this request; None if there is nothing but text to find."""
        if self._class is None:
            return None
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

        tools = [_described(tool, _as_it_is) for tool in request.tools]
        asked = ChatCompletionRequest(
            messages=[{"role": "user", "content": ""}], **({"tools": tools} if tools else {})
        )
        parser = self._class(self._tokenizer, asked.tools)
        return AnswerReader(
            parser, parser.adjust_request(asked), one=not request.parallel_tool_calls
        )


class AnswerReader:
    """Reads one answer as it comes.

    Thoughts are not passed on, unless the model ends of itself while it has said nothing else: then
    it did not think, and they are the answer.
    """

    def __init__(self, parser: Any, asked: Any, *, one: bool) -> None:  # noqa: ANN401
        self.skip_special_tokens: bool = asked.skip_special_tokens
        self._parser = parser
        self._asked = asked
        self._one = one
        self._begun: set[int] = set()
        self._logprobs: list[TokenLogprob] = []
        self._thought: str | None = ""

    def read(
        self,
        completion: Any,  # noqa: ANN401
        prompt: Sequence[int],
        logprobs: list[TokenLogprob],
    ) -> list[TokenEvent]:
        """The events in the next piece of vLLM's output."""
        found = self._parser.parse_delta(
            completion.text,
            list(completion.token_ids),
            self._asked,
            list(prompt),
            finished=completion.finish_reason is not None,
        )
        content, calls = (found.content, found.tool_calls) if found else (None, [])
        self._logprobs += logprobs
        if content or calls:
            self._thought = None
        elif self._thought is not None and found:
            self._thought += found.reasoning or ""
        if completion.finish_reason == "stop" and self._thought:
            content = self._thought
        events: list[TokenEvent] = []
        if content:
            events.append(TextDelta(content, self._logprobs))
            self._logprobs = []
        return events + [delta for call in calls for delta in self._call(call)]

    def _call(self, call: Any) -> list[ToolCallDelta]:  # noqa: ANN401
        function = call.function
        if self._one and self._begun and call.index not in self._begun:
            return []
        arguments = (function.arguments if function else None) or ""
        if call.index in self._begun:
            return [ToolCallDelta(call.index, arguments)] if arguments else []
        self._begun.add(call.index)
        id_ = call.id or f"call_{uuid.uuid4().hex[:24]}"
        return [ToolCallDelta(call.index, arguments, id_, function.name)]

    def ended(self, finished: Finished) -> Finished:
        """The last event; an answer with calls ends with them unless it was cut."""
        called = self._begun and finished.reason == "stop"
        return Finished("tool_calls", finished.usage) if called else finished


def native_turns(messages: Sequence[ChatMessage], guard: Guard) -> list[dict[str, Any]]:
    """Messages with their calls and results, as chat templates take them."""
    return [_native(message, guard) for message in messages]


def native_tools(tools: Sequence[Tool], guard: Guard) -> list[dict[str, Any]]:
    """Tools as chat templates take them."""
    return [_described(tool, guard) for tool in tools]


def _native(message: ChatMessage, guard: Guard) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "role": message.role,
        "content": guard(message.role, message.content),
    }
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": guard("tool", call.name),
                    "arguments": _guarded(_arguments(call.arguments), guard),
                },
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = guard("tool", message.tool_call_id)
    return turn


def _arguments(text: str) -> Any:  # noqa: ANN401  JSON
    """Templates iterate over the arguments, so what is no object becomes one."""
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = text
    return arguments if isinstance(arguments, dict) else {"arguments": arguments}


def _described(tool: Tool, guard: Guard) -> dict[str, Any]:
    function = msgspec.to_builtins(tool)
    del function["strict"]  # no concern of the model
    described: dict[str, Any] = _guarded({"type": "function", "function": function}, guard)
    return described


def _as_it_is(_: Role, text: str) -> str:
    return text


def _guarded(value: Any, guard: Guard) -> Any:  # noqa: ANN401  JSON
    """The same JSON with every text in it guarded."""
    if isinstance(value, str):
        return guard("tool", value)
    if isinstance(value, list):
        return [_guarded(item, guard) for item in value]
    if isinstance(value, dict):
        return {guard("tool", key): _guarded(item, guard) for key, item in value.items()}
    return value
