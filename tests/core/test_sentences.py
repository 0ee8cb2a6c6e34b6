"""Sentences of many scripts, of lists and tables, and of what no one would call a text."""

# Texts hold characters of many scripts.

import time
from itertools import pairwise
from pathlib import Path

import pytest

from tiffin.core.sentences import MAX_SENTENCE_CHARS, split_sentences

CASES = Path(__file__).parents[1] / "data/sentences.txt"


def texts(text: str, language: str = "en") -> list[str]:
    return [sentence.text for sentence in split_sentences(text, language)]


Case = tuple[str, str, bool]


def cases() -> dict[str, list[Case]]:
    """The cases of the file by kind: language, text with ¦ between sentences, whether it holds."""
    found: dict[str, list[Case]] = {}
    kind: list[Case] = []
    for line in CASES.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            kind = found.setdefault(line[3:], [])
        elif line and not line.startswith("#"):
            language, _, text = line.lstrip("! ").partition(": ")
            text = text.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t")
            kind.append((language, text.replace("\0", "\\"), not line.startswith("!")))
    return found


@pytest.mark.parametrize("kind", cases())
def test_a_text_has_the_sentences_that_a_reader_finds(kind: str) -> None:
    wrong = []
    for language, marked, holds in cases()[kind]:
        wanted = [part.strip() for part in marked.split("¦") if any(map(str.isalnum, part))]
        found = texts(marked.replace("¦", ""), language)
        if (found == wanted) is not holds:
            wrong.append((found, wanted))
    assert not wrong


def test_the_lines_of_lists_tables_and_code_are_sentences_of_their_own() -> None:
    text = (
        "Price list\nSmall: 3.50\n- item one\n- item two\n\n"
        "| a | b |\n| 1 | 2 |\ndef f(x):\n    return x"
    )
    assert texts(text) == [
        "Price list", "Small: 3.50", "- item one", "- item two", "| a | b |", "| 1 | 2 |",
        "def f(x):", "return x",
    ]  # fmt: skip


def test_a_pair_of_a_long_line_of_json_is_a_sentence() -> None:
    said = "It is tall. " * 20
    line = f'{{"name": "tower", "old": true, "text": "{said}", "of": {{"city": 1}}}}'
    pairs = ['"name": "tower"', '"old": true', f'"text": "{said}"', '"of":', '"city": 1}}']
    assert texts(line) == pairs
    short = '{"name": "tower", "old": true}'
    assert texts(short) == [short]


def test_a_wrapped_line_goes_on() -> None:
    text = "This sentence was wrapped by an editor at some sixty columns\nand ends here. So."
    assert texts(text) == [
        "This sentence was wrapped by an editor at some sixty columns\nand ends here.",
        "So.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "word " * 2000,
        "x" * 10_000,
        "一" * 10_000,
        "a, b; c: " * 1200,
        "😀 Dr. No. 5 said: 'Yes!' 👍🏽 " * 50,
        "\r\n".join(["line"] * 500),
    ],
)
def test_spans_hold_the_text_in_order_and_none_is_too_long(text: str) -> None:
    sentences = split_sentences(text)
    assert all(text[s.start : s.end] == s.text for s in sentences)
    assert all(len(s.text) <= MAX_SENTENCE_CHARS for s in sentences)
    assert all(a.end <= b.start for a, b in pairwise(sentences))
    left = [character for character in text if character.isalnum()]
    kept = [character for s in sentences for character in s.text if character.isalnum()]
    assert kept == left


@pytest.mark.parametrize(
    "text",
    [
        "Dr. A. Kell designed the bridge. It is approx. 3.5 km long.\nSee No. 7. " * 2800,
        " " * 200_000,
        "\n" * 200_000,
        " \r\n" * 70_000,
    ],
)
def test_200_kilobytes_take_less_than_a_second(text: str) -> None:
    start = time.process_time()
    split_sentences(text)
    assert time.process_time() - start < 1
