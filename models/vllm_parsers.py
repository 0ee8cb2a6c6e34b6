"""Which of vLLM's parsers read the tool calls and the thoughts of a model.

A catalogue entry may name them. Otherwise they are found by what the model's `config.json` and chat
template say, because vLLM itself finds none.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Parsers:
    """Names of vLLM's parsers; None where the model writes plain text."""

    tools: str | None = None
    reasoning: str | None = None


@dataclass(frozen=True)
class _Rule:
    """The parser for models of these types (a pattern) in whose template that pattern is found."""

    types: str
    template: str
    parser: str


_TOOLS = (
    _Rule("gpt_oss", "", "openai"),
    _Rule("glm4_moe", "<arg_key>", "glm45"),
    _Rule("qwen3.*", "<function=", "qwen3_coder"),
    _Rule("deepseek_v3", "<\uff5ctool\u2581call\u2581begin\uff5c>function", "deepseek_v3"),
    _Rule("deepseek_v3", "<\uff5ctool\u2581call\u2581begin\uff5c>", "deepseek_v31"),
    _Rule("mistral.*|ministral.*|mixtral", r"\[TOOL_CALLS\]", "mistral"),
    _Rule("llama4.*", r"<\|python_start\|>", "llama4_pythonic"),
    _Rule("llama", "ipython", "llama3_json"),
    _Rule("granite.*", r"<\|tool_call\|>", "granite"),
    _Rule(".*", "<tool_call>", "hermes"),
)
_THINKS = r"<think>\s*$"
"""The prompt itself opens the thought. That a template cuts thoughts from earlier turns says
little, because those of some models that never think do so too."""

_REASONING = (
    _Rule("gpt_oss", "", "openai_gptoss"),
    _Rule("glm4_moe", "enable_thinking", "glm45"),
    _Rule("mistral.*|ministral.*", r"\[THINK\]", "mistral"),
    _Rule("qwen3.*", f"enable_thinking|{_THINKS}", "qwen3"),
    _Rule(".*", f"<\uff5cAssistant\uff5c>.*</think>|{_THINKS}", "deepseek_r1"),
)


def parsers_for(model_type: str, chat_template: str, prompt: str) -> Parsers:
    """The parsers for a model of this type, with this template and a prompt that it rendered."""
    text = f"{chat_template}\n{prompt}"
    return Parsers(_first(_TOOLS, model_type, text), _first(_REASONING, model_type, text))


def _first(rules: tuple[_Rule, ...], model_type: str, text: str) -> str | None:
    return next(
        (
            rule.parser
            for rule in rules
            if re.fullmatch(rule.types, model_type) and re.search(rule.template, text, re.DOTALL)
        ),
        None,
    )
