"""Chunks respect the structure of a document, lose nothing and fit into the encoder."""

import random
import re
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tiffin.corpus.chunk import chunk
from tiffin.corpus.document import Chunk, Parsed
from tiffin.corpus.outline import Outline
from tiffin.corpus.reading import read

ROWS = [["Item", "Price"], *([f"Box {number}", f"{number}.50"] for number in range(40))]


def count(texts: Sequence[str]) -> list[int]:
    """Words and marks: an encoder for tests."""
    return [len(re.findall(r"\w{1,12}|[^\w\s]", text)) for text in texts]


def chunks(source: str, limit: int, name: str = "x.md") -> list[Chunk]:
    return chunk(read(source.encode(), name), count, limit)


def check(parsed: Parsed, made: Sequence[Chunk], limit: int) -> None:
    """Whatever the document: nothing is lost, nothing is too long, all is in order."""
    covered = bytearray(len(parsed.text))
    for one in made:
        covered[one.start : one.end] = b"\1" * (one.end - one.start)
        assert count([one.text])[0] <= limit
        assert one.text.endswith(parsed.text[one.start : one.end])
    lost = [letter for letter, held in zip(parsed.text, covered, strict=True) if not held]
    assert "".join(lost).strip() == ""
    assert made == sorted(made, key=lambda one: (one.start, one.end))


def test_a_chunk_is_a_section_if_it_fits_and_begins_with_its_heading() -> None:
    made = chunks("# Shop\n\n## Refunds\n\nIn 30 days.\n\n- books\n\n## Cost\n\nNone.", 40)
    assert [(one.text, one.headings) for one in made] == [
        ("Shop\n\nRefunds\n\nIn 30 days.\n\n- books", ("Shop", "Refunds")),
        ("Cost\n\nNone.", ("Shop", "Cost")),
    ]


def test_a_long_section_is_cut_between_sentences_and_paragraphs_stay_whole() -> None:
    paragraph = "One has five words now. Dr. Kell has five more. "
    made = chunks("\n\n".join([paragraph * 2] * 5), 30)
    assert [one.text for one in made] == [(paragraph * 2).strip()] * 5
    made = chunks(paragraph * 20, 40)
    assert all(one.text.endswith(".") and one.text[:2] in {"On", "Dr"} for one in made)
    assert len({one.start for one in made}) == len(made)


def test_a_sentence_that_leans_on_the_one_before_takes_it_along() -> None:
    made = chunks("Kell drew the bridge. It opened in 1931. " * 10, 42)
    assert len(made) > 1
    assert all(one.text.startswith("Kell") for one in made)
    assert made[1].start < made[0].end


def test_every_chunk_of_a_table_has_its_header_and_whole_rows() -> None:
    outline = Outline()
    outline.table(ROWS)
    parsed = outline.parsed("text/csv")
    made = chunk(parsed, count, 40)
    check(parsed, made, 40)
    assert len(made) > 3
    assert all(one.text.startswith("Item | Price\n") for one in made)
    rows = [row for one in made for row in one.text.split("\n")[1:]]
    assert rows == [" | ".join(row) for row in ROWS[1:]]


def test_a_header_too_long_to_repeat_is_not_repeated() -> None:
    outline = Outline()
    outline.table([["head " * 30, "b"], *([f"row {number}", "x " * 9] for number in range(9))])
    parsed = outline.parsed("text/csv")
    check(parsed, chunk(parsed, count, 40), 40)


def test_a_sentence_longer_than_a_chunk_is_cut_between_words_with_an_overlap() -> None:
    outline = Outline()
    outline.add(" ".join(f"word{number}" for number in range(200)), "code")
    parsed = outline.parsed("text/plain")
    made = chunk(parsed, count, 40)
    check(parsed, made, 40)
    assert all(one.text.split()[-1] in parsed.text.split() for one in made)
    for before, after in pairwise(made):
        assert 0 < before.end - after.start < (before.end - before.start) / 4


def test_a_chunk_knows_the_page_on_which_it_starts() -> None:
    outline = Outline()
    outline.page = 1
    outline.add("One two three. The bridge that they")
    outline.page = 2
    outline.go_on("built is long. " + "More of it. " * 20)
    made = chunk(outline.parsed("application/pdf"), count, 16)
    assert made[0].text == "One two three. The bridge that they built is long."
    assert [one.page for one in made] == [1] + [2] * (len(made) - 1)


def test_code_is_cut_between_lines() -> None:
    lines = [f"    value_{number} = call({number})" for number in range(50)]
    made = chunks("```\n" + "\n".join(lines) + "\n```", 40)
    assert "\n".join(one.text for one in made).split("\n") == lines


@pytest.mark.parametrize("word", ["word ", "wordy"])
def test_a_line_of_two_megabytes_takes_seconds(word: str) -> None:
    start = time.monotonic()
    made = chunks(word * 400_000, 200, "x.txt")
    assert sum(map(len, (one.text for one in made))) > 1_900_000
    assert time.monotonic() - start < 30


def test_no_document_loses_text_or_makes_a_chunk_too_long() -> None:
    draw = random.Random(3)  # noqa: S311  no secret
    for _ in range(150):
        limit = draw.randint(1, 60)
        outline = Outline()
        for _ in range(draw.randint(0, 6)):
            text = "".join(draw.choices("ab c.\n1|漢é- \t!?", k=draw.randint(0, 300)))
            match draw.choice(["prose", "list", "code", "heading", "table"]):
                case "heading":
                    outline.heading(1 + len(text) % 3, text[: limit // 2])
                case "table":
                    outline.table(line.split("|") for line in text.split("\n"))
                case "list":
                    outline.add(text, "list")
                case "code":
                    outline.add(text, "code")
                case _:
                    outline.add(text)
        parsed = outline.parsed("text/plain")
        check(parsed, chunk(parsed, count, limit), limit)
