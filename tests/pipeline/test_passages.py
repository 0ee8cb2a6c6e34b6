"""Documents become passages: nothing lost, nothing longer than the encoder reads."""

import pytest

from tiffin.core.values import Document
from tiffin.pipeline.passages import MAX_PASSAGE_CHARS, split_documents


def test_a_short_document_is_one_passage_without_its_white_space() -> None:
    (passage,) = split_documents([Document(text="  A short text.\n")])
    assert (passage.start, passage.end, passage.text) == (2, 15, "A short text.")


def test_a_long_document_loses_nothing_but_white_space() -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "Some words follow here. " * 25 for n in range(20))
    passages = split_documents([Document(text="intro"), Document(text=text)])[1:]
    assert all(len(passage.text) <= MAX_PASSAGE_CHARS for passage in passages)
    assert all(passage.text == text[passage.start : passage.end] for passage in passages)
    assert "".join("".join(p.text for p in passages).split()) == "".join(text.split())
    assert {passage.document for passage in passages} == {1}


def test_passages_end_at_sentences_where_they_can() -> None:
    text = "One sentence of about forty characters. " * 60
    passages = split_documents([Document(text=text)])
    assert all(passage.text.endswith(".") for passage in passages)


@pytest.mark.parametrize("text", ["x" * 5000, "漢字" * 2000, "a. " * 3000])
def test_text_without_good_breaks_is_still_split(text: str) -> None:
    passages = split_documents([Document(text=text)])
    assert max(len(passage.text) for passage in passages) <= MAX_PASSAGE_CHARS
    assert "".join("".join(p.text for p in passages).split()) == "".join(text.split())


def test_white_space_gives_no_passage() -> None:
    assert split_documents([Document(text=" \n\t ")]) == []
