"""vLLM's own parsers, on answers as models of four families write them, cut anywhere."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from models.engines.vllm_parsers import ChatParsers
from models.values import Finished, GenerateRequest, TextDelta, TokenEvent, TokenUsage, Tool
from models.vllm_parsers import Parsers
from tests.support.templates import FAMILIES, Family

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

WEATHER = Tool("weather", "Of a city.", {"type": "object", "properties": {"city": {}}})
CLOCK = Tool("clock")
ASKED = GenerateRequest(tools=[WEATHER, CLOCK])
USAGE = TokenUsage(prompt_tokens=1, completion_tokens=1)
CALL = '{"name": "weather", "arguments": {"city": "Köln"}}'

QWEN_3 = replace(
    FAMILIES["ChatML"],
    template=FAMILIES["ChatML"].template + "{# <tool_call> enable_thinking #}",
    harmless=("<tool_call>", "</tool_call>", "<think>", "</think>"),
)
LLAMA_3 = replace(
    FAMILIES["Llama 3"],
    template=FAMILIES["Llama 3"].template + "{# ipython #}",
    special=(*FAMILIES["Llama 3"].special, "<|python_tag|>"),
)
MISTRAL = replace(
    FAMILIES["Mistral"],
    template=FAMILIES["Mistral"].template + "{# [TOOL_CALLS] #}",
    special=(*FAMILIES["Mistral"].special, "[TOOL_CALLS]"),
)
R1 = FAMILIES["DeepSeek"]


@dataclass(frozen=True)
class Piece:
    """What vLLM's output has of interest here."""

    text: str
    token_ids: list[int]
    finish_reason: str | None = None


def read(
    family: Family,
    model_type: str,
    answer: str,
    request: GenerateRequest = ASKED,
    *,
    at_once: int = 1,
    reason: Any = "stop",
) -> tuple[str, list[tuple[str, Any]], str]:
    """The text, the calls and the reason to end that are found in this answer."""
    tokenizer = family.tokenizer()
    parsers = ChatParsers(None, tokenizer, model_type)
    reader = parsers.reader(request)
    assert reader is not None
    turns = [{"role": "user", "content": "Well?"}]
    prompt: Any = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=False
    )
    ids = tokenizer.encode(answer, add_special_tokens=False)
    events: list[TokenEvent] = []
    sent = ""
    for start in range(0, len(ids), at_once):
        text = str(
            tokenizer.decode(
                ids[: start + at_once],
                skip_special_tokens=reader.skip_special_tokens,
                clean_up_tokenization_spaces=False,
            )
        ).replace("▁", " ")
        text = text.rstrip("\ufffd")  # vLLM withholds a character until all its bytes are there
        piece = Piece(text[len(sent) :], ids[start : start + at_once])
        events += reader.read(piece, prompt, [])
        sent = text
    events += reader.read(Piece("", [], reason), prompt, [])
    finished = reader.ended(Finished(reason, USAGE))
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    calls: dict[int, list[Any]] = {}
    for event in events:
        if not isinstance(event, TextDelta | Finished):
            calls.setdefault(event.index, [event.name, ""])[1] += event.arguments
    return said, [(name, json.loads(text)) for name, text in calls.values()], finished.reason


KOELN = ("weather", {"city": "Köln"})
sizes = pytest.mark.parametrize("at_once", [1, 7, 1000])


@sizes
@pytest.mark.parametrize(
    ("family", "model_type", "answer"),
    [
        (QWEN_3, "qwen3", f"<think>\nA call.\n</think>\n\n<tool_call>\n{CALL}\n</tool_call>"),
        (LLAMA_3, "llama", CALL.replace("arguments", "parameters")),
        (LLAMA_3, "llama", "<|python_tag|>" + CALL.replace("arguments", "parameters")),
        (MISTRAL, "mistral", f"[TOOL_CALLS] [{CALL}]"),
    ],
)
def test_a_call_in_the_model_s_own_words_is_read(
    family: Family, model_type: str, answer: str, at_once: int
) -> None:
    said, calls, reason = read(family, model_type, answer, at_once=at_once)
    assert (said.strip(), calls, reason) == ("", [KOELN], "tool_calls")


@sizes
@pytest.mark.parametrize(
    ("family", "model_type", "answer"),
    [
        (QWEN_3, "qwen3", "<think>\nThey ask.\n</think>\n\nIt is <b>sunny</b>."),
        (R1, "qwen2", "They ask.\n</think>\n\nIt is <b>sunny</b>."),
        (LLAMA_3, "llama", "It is <b>sunny</b>."),
        (MISTRAL, "mistral", "It is <b>sunny</b>."),
    ],
)
def test_thoughts_do_not_leak_into_the_answer(
    family: Family, model_type: str, answer: str, at_once: int
) -> None:
    for request in (ASKED, GenerateRequest()):
        tools = request if family is not R1 else GenerateRequest()
        if ChatParsers(None, family.tokenizer(), model_type).reader(tools) is None:
            continue
        said, calls, reason = read(family, model_type, answer, tools, at_once=at_once)
        assert (said.strip(), calls, reason) == ("It is <b>sunny</b>.", [], "stop")


def test_a_model_that_did_not_think_has_answered() -> None:
    said, _, reason = read(R1, "qwen2", "It is sunny.", GenerateRequest())
    assert (said, reason) == ("It is sunny.", "stop")
    said, _, reason = read(R1, "qwen2", "Let me se", GenerateRequest(), reason="length")
    assert (said, reason) == ("", "length"), "a thought that was cut is no answer"


def test_one_call_where_they_may_not_be_parallel() -> None:
    calls = f"<think>\n</think>\n\n<tool_call>\n{CALL}\n</tool_call>\n" * 2
    request = GenerateRequest(tools=[WEATHER], parallel_tool_calls=False)
    assert len(read(QWEN_3, "qwen3", calls, request)[1]) == 1


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({}, True),
        ({"tools": []}, False),
        ({"tool_choice": "required"}, False),
        ({"json_schema": {}}, False),
        ({"tools": [Tool("t", strict=True)]}, True),
    ],
)
def test_a_call_that_is_enforced_is_left_to_our_grammar(fields: Any, *, taken: bool) -> None:
    request = GenerateRequest(**{"tools": [WEATHER], **fields})
    assert ChatParsers(None, QWEN_3.tokenizer(), "qwen3").take_tools(request) is taken
    strict = bool(request.tools) and request.tools[0].strict
    llama = ChatParsers(None, LLAMA_3.tokenizer(), "llama")
    assert llama.take_tools(request) is (taken and not strict), "it writes no tags of ours"


def test_a_parser_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match="nonesuch"):
        ChatParsers(Parsers(tools="nonesuch"), LLAMA_3.tokenizer(), "llama")
