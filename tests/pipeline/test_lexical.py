"""Finding by shared words: among many passages, and for when no model can find by meaning."""

import pytest

from tiffin.core.values import Document
from tiffin.pipeline.lexical import narrowed, overlap
from tiffin.pipeline.passages import split_documents

TEXTS = ["The old river is wide.", "The old tower casts a shadow.", "Bread."]


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    scores = overlap("where is the old tower", TEXTS)
    assert scores.argmax() == 1
    assert 0 < scores[0] < 0.5 < scores[1] <= 1
    assert scores[2] == 0


def test_a_question_that_shares_nothing_scores_nothing_and_does_not_fail() -> None:
    assert overlap("???", TEXTS).tolist() == [0, 0, 0]
    assert overlap("", ["", ""]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("Where are the bridges?", "One bridge.", True),
        ("Where are the boats?", "He went boating.", False),  # another word by our stems
        ("Who was Dell?", "DELL's wife", True),
        ("Who was Dell?", "a dellwood", False),
        ("What happened in 1990?", "in 19901", False),
        ("Wie hoch ist der Fernsehturm?", "Der Fernsehturm ist hoch.", True),
        ("東京の人口は?", "東京には1400万人が住む。", True),
    ],
)
def test_a_word_is_found_in_its_forms_and_not_within_another(
    query: str, text: str, found: bool
) -> None:
    assert bool(overlap(query, [text])[0]) == found


def test_many_passages_are_narrowed_to_those_that_share_words_with_the_question() -> None:
    texts = [f"The tower number {number} is made of stone." for number in range(100)]
    texts[70] = "The lighthouse keeper was called Alma Kell."
    passages = split_documents([Document(text=text) for text in texts])
    kept, left_out = narrowed("Who was the keeper of the lighthouse?", passages, 24)
    assert (len(kept), len(left_out)) == (24, 76)
    assert texts[70] in [passage.text for passage in kept]
    assert list(kept) == sorted(kept, key=lambda passage: passage.document or 0)


def test_no_passage_is_left_out_if_the_question_is_in_another_language() -> None:
    passages = split_documents([Document(text=f"The tower number {n}.") for n in range(100)])
    assert narrowed("Wie hieß der Leuchtturmwärter?", passages, 24) == (passages, ())
