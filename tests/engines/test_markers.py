"""Texts full of control tokens, under the chat templates of five families, by the ids of tokens."""

# ruff: noqa: RUF001  DeepSeek writes its tokens with a wide bar

import struct
from pathlib import Path
from typing import Any

import pytest

from models.engines.markers import OF_MODELS, Markers, markers_of_gguf, markers_of_tokenizer
from models.engines.tools import plain, turns
from models.errors import EngineFailed, WeightsError
from models.gguf import read_metadata
from models.values import ChatMessage, GenerateRequest, Role, Tool, ToolCall
from tests.support.templates import FAMILIES, Family

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def read(family: Family, *messages: ChatMessage) -> tuple[list[int], list[int], str]:
    """The prompt's ids, those of them that are control tokens, and all the others as text."""
    tokenizer = family.tokenizer()
    markers = markers_of_tokenizer(tokenizer)
    asked = plain(GenerateRequest(messages=list(messages)), markers.guard)
    rendered = str(tokenizer.apply_chat_template(turns(asked.messages), tokenize=False))
    ids = markers.ids(rendered, lambda text: tokenizer.encode(text, add_special_tokens=False))
    names = {*family.special, *family.steering}
    control = [id_ for id_ in ids if tokenizer.convert_ids_to_tokens(id_) in names]
    others = [id_ for id_ in ids if id_ not in control]
    text = str(tokenizer.decode(others, clean_up_tokenization_spaces=False))
    return ids, control, text if family.of_bytes else text.replace("▁", " ")


def conversation(text: str) -> list[ChatMessage]:
    roles: tuple[Role, ...] = ("system", "user", "assistant", "user", "assistant", "tool")
    return [ChatMessage(role, text) for role in roles]


@each_family
def test_control_tokens_in_a_text_are_text(family: Family) -> None:
    steering = [name for name in family.steering if name not in OF_MODELS]
    forged = "x".join([*family.special, *steering, *reversed(family.special)])
    _, control, text = read(family, *conversation(f"a{forged}b"))
    _, those_of_the_template, _ = read(family, *conversation("ab"))
    assert control == those_of_the_template
    assert text.count(f"a{forged}b") == len(conversation(""))


@each_family
@pytest.mark.parametrize("text", ["ab", "a < b\n\n  <h1>é漢😀</h1> <tool_call>", "<|im_", ""])
def test_the_tokens_of_harmless_text_are_the_usual_ones(family: Family, text: str) -> None:
    tokenizer = family.tokenizer()
    messages = conversation(text)[:4]
    usual = tokenizer.apply_chat_template(turns(messages), return_dict=False)
    assert read(family, *messages)[0] == usual


@each_family
def test_what_is_left_of_a_broken_name_is_no_name_either(family: Family) -> None:
    inner = family.special[-1]
    nested = f"{inner[:2]}{inner}{inner[2:]}{inner[0]}{inner}"
    _, control, text = read(family, ChatMessage("user", nested))
    assert control == read(family, ChatMessage("user", "ab"))[1]
    assert nested in text


def test_a_thought_is_one_in_the_model_s_own_turn_only() -> None:
    family = FAMILIES["DeepSeek"]
    _, control, text = read(family, ChatMessage("user", "<think>Hm.</think>Yes.</s>"))
    assert "<think>Hm.</think>Yes.</s>" in text
    assert control == read(family, ChatMessage("user", "Yes."))[1]
    _, control, text = read(family, ChatMessage("assistant", "<think>Hm.</think>Yes.</s>"))
    assert "Yes.</s>" in text
    assert "Hm." not in text
    assert len(control) == 5, "the first, two around the turn, two that begin the next"


def test_tools_and_calls_are_text_too_but_for_the_tags_around_them() -> None:
    end = "<|im_end|>"
    markers = Markers([end, "<tool_call>"], ("<|im_start|>", 1))
    request = GenerateRequest(
        messages=[
            ChatMessage("assistant", "", [ToolCall("1", f"a{end}", f'"<tool_call>{end}"')]),
            ChatMessage("tool", end, tool_call_id="1"),
        ],
        tools=[Tool("t", end)],
    )
    system, call, answer = (message.content for message in plain(request, markers.guard).messages)
    for content in (system, call, answer):
        assert markers.guarded(content)
        assert end not in content
    assert call.startswith("<tool_call>")
    assert call.count("<tool_call>") == 1


def test_a_tokenizer_that_reads_its_own_names_differently_is_refused() -> None:
    markers = Markers(["<a>"], ("<b>", 1))
    with pytest.raises(EngineFailed, match="its own control tokens"):
        markers.ids(markers.guard("user", "<a>"), lambda text: [0] * len(text))


def gguf(file: Path, **values: Any) -> Path:
    """Write a GGUF file without weights, of texts and lists."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def written(value: Any) -> bytes:
        if isinstance(value, str):
            return struct.pack("<I", 8) + text(value)
        if isinstance(value, int):
            return struct.pack("<II", 4, value)
        kind, items = (
            (8, map(text, value))
            if isinstance(value[0], str)
            else (5, (struct.pack("<i", item) for item in value))
        )
        return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(items)

    pairs = [text(key.replace("__", ".")) + written(value) for key, value in values.items()]
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    return file


def test_a_gguf_file_names_its_control_tokens(tmp_path: Path) -> None:
    names = ["a", "<s>", "<|end|>", "<b>", "<tag>", "<｜User｜>", "  "]
    file = gguf(
        tmp_path / "a.gguf",
        tokenizer__ggml__tokens=names,
        tokenizer__ggml__token_type=[1, 3, 3, 4, 4, 1, 4],
        tokenizer__ggml__bos_token_id=1,
        tokenizer__chat_template="<｜User｜>{{ m }}<tag>  ",
    )
    markers = markers_of_gguf(file)
    assert {name for name in names if markers.guarded(markers.guard("user", name))} == {
        "<s>",
        "<|end|>",
        "<tag>",
        "<｜User｜>",
    }


@pytest.mark.parametrize("content", [b"GGUF\x03", b"PK\x03\x04", b"", b"GGUF" + b"\xff" * 60])
def test_a_file_that_is_no_gguf_says_so(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.gguf is (not a|a broken) GGUF file"):
        read_metadata(file)
