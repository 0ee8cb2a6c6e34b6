"""Which of vLLM's parsers a model gets, and how turns and tools reach its own chat template."""

import pytest

from models.catalog import load_catalog
from models.engines.markers import Markers, unguarded
from models.engines.vllm_parsers import native_tools, native_turns
from models.values import ChatMessage, Tool, ToolCall
from models.vllm_parsers import Parsers, parsers_for

HERMES = "{% if tools %}<tool_call>{% endif %}"
CUT_THOUGHTS = "{{ message.content.split('</think>')[-1] }}"


@pytest.mark.parametrize(
    ("model_type", "template", "prompt", "parsers"),
    [
        ("qwen2", HERMES, "", Parsers("hermes")),
        ("qwen3", HERMES + CUT_THOUGHTS + "{{ enable_thinking }}", "", Parsers("hermes", "qwen3")),
        ("qwen3", HERMES + CUT_THOUGHTS, "assistant\n", Parsers("hermes")),
        ("qwen3", HERMES, "assistant\n<think>\n", Parsers("hermes", "qwen3")),
        ("qwen3_moe", "<function=...>", "", Parsers("qwen3_coder")),
        ("llama", "ipython <|python_tag|>", "", Parsers("llama3_json")),
        ("llama", "{{ message.content }}", "", Parsers()),
        ("mistral", "[TOOL_CALLS][{{ call }}]", "", Parsers("mistral")),
        ("qwen2", "<\uff5cAssistant\uff5c>" + CUT_THOUGHTS, "", Parsers(None, "deepseek_r1")),
        ("llama", "{{ message.content }}", "<think>", Parsers(None, "deepseek_r1")),
        ("gpt_oss", "", "", Parsers("openai", "openai_gptoss")),
    ],
)
def test_parsers_are_found_by_type_and_template(
    model_type: str, template: str, prompt: str, parsers: Parsers
) -> None:
    assert parsers_for(model_type, template, prompt) == parsers


def test_an_entry_of_the_catalogue_names_its_parsers_or_leaves_them_to_be_found() -> None:
    catalogue = load_catalog()
    assert catalogue.get("smollm2-135m-instruct-bf16").vllm_parsers is None
    assert catalogue.get("qwen2.5-coder-1.5b-instruct-bf16").vllm_parsers == Parsers()


def test_a_template_sees_the_arguments_of_a_call_as_an_object() -> None:
    turns = native_turns(
        [
            ChatMessage("assistant", "", [ToolCall("c1", "weather", '{"city": "Rome"}')]),
            ChatMessage("assistant", "", [ToolCall("c2", "weather", '{"city": "Ro')]),
            ChatMessage("tool", "sunny", tool_call_id="c1"),
        ],
        unguarded,
    )
    whole, cut = (turn["tool_calls"][0]["function"]["arguments"] for turn in turns[:2])
    assert whole == {"city": "Rome"}
    assert cut == {"arguments": '{"city": "Ro'}
    assert turns[2] == {"role": "tool", "content": "sunny", "tool_call_id": "c1"}


def test_what_tools_and_calls_say_is_guarded_wherever_it_stands() -> None:
    end = "<|im_end|>"
    markers = Markers([end], ("<|im_start|>", 1))
    escaped = '{"\\u003c|im_end|>": ["<|im_end|>"]}'
    turns = native_turns(
        [
            ChatMessage("assistant", end, [ToolCall("c1", end, escaped)]),
            ChatMessage("tool", end, tool_call_id=end),
        ],
        markers.guard,
    )
    tools = native_tools(
        [Tool("t", end, {"properties": {end: {"enum": [end, 1, None]}}})], markers.guard
    )
    for written in (str(turns), str(tools)):
        assert markers.guarded(written)
        assert end not in written
