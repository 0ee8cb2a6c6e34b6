"""Sentences of many scripts, of lists and tables, and of what no one would call a text."""

# Texts hold characters of many scripts.
# ruff: noqa: RUF001

import time
from itertools import pairwise

import pytest

from tiffin.core.sentences import MAX_SENTENCE_CHARS, split_sentences


def texts(text: str, language: str = "en") -> list[str]:
    return [sentence.text for sentence in split_sentences(text, language)]


@pytest.mark.parametrize(
    ("language", "text", "count"),
    [
        (
            "en",
            (
                "Dr. A. Kell designed the bridge. "
                "It is approx. 3.5 km long, i.e. longer than the other."
            ),
            2,
        ),
        ("en", "He moved to the U.S. in 1999. Later, the U.S. Army called.", 2),
        ("en", 'See Fig. 3 (cf. No. 7). "Is it true?" she asked. J. R. R. Tolkien wrote it.', 3),
        ("en", "The act says so. [1] It went on.[2] Version 2.0.1 is out.", 3),
        ("de", "Die Brücke ist z. B. am 3. Mai 1931 eröffnet worden. Sie ist ca. 3 km lang.", 2),
        ("zh", "大桥于1931年开放。它全长1450米！你去过吗？", 3),
        ("ja", "橋は1931年に開通した。長さは1450メートルです。", 2),
        ("ar", "افتتح الجسر عام 1931. يبلغ طوله 1450 مترا. هل زرته؟ نعم.", 4),
        ("hi", "पुल 1931 में खोला गया था। यह 1450 मीटर लंबा है।", 2),
        ("th", "สะพานเปิดในปี 1931 มีความยาว 1450 เมตร", 1),
        ("en", "1 2 3.4 5,6 7.8.9", 1),
        ("en", "", 0),
        ("en", " \n\t ... --- \n", 0),
    ],
)
def test_a_text_has_as_many_sentences_as_a_reader_counts(
    language: str, text: str, count: int
) -> None:
    assert len(texts(text, language)) == count, texts(text, language)


def test_the_lines_of_lists_tables_and_code_are_sentences_of_their_own() -> None:
    text = (
        "Price list\nSmall: 3.50\n- item one\n- item two\n\n"
        "| a | b |\n| 1 | 2 |\ndef f(x):\n    return x"
    )
    assert texts(text) == [
        "Price list", "Small: 3.50", "- item one", "- item two", "| a | b |", "| 1 | 2 |",
        "def f(x):", "return x",
    ]  # fmt: skip


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
    start = time.perf_counter()
    split_sentences(text)
    assert time.perf_counter() - start < 1
