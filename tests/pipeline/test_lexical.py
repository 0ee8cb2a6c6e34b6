"""Finding by shared words, for when no model can find by meaning."""

from tiffin.core.values import Source
from tiffin.pipeline.lexical import extract, overlap

TEXTS = ["The river is long.", "The tower is 324 metres tall.", "Bread."]


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    scores = overlap("the tower is where", TEXTS)
    assert scores.argmax() == 1
    assert 0 < scores[0] < scores[1] <= 1
    assert scores[2] == 0


def test_a_question_that_shares_nothing_scores_nothing_and_does_not_fail() -> None:
    assert overlap("???", TEXTS).tolist() == [0, 0, 0]
    assert overlap("", ["", ""]).tolist() == [0, 0]


def test_the_sentence_that_fits_is_quoted_and_the_others_are_not() -> None:
    text = "It was built in 1889. The tower is 324 metres tall. It is painted brown."
    source = Source(
        index=1,
        document=0,
        document_id=None,
        title=None,
        text=text,
        start=0,
        end=len(text),
        score=1,
        similarity=1,
    )
    assert extract("How tall is the tower?", [source]) == "The tower is 324 metres tall."
