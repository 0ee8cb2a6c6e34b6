"""Finding by shared words, for when no model can find by meaning."""

from tiffin.pipeline.lexical import overlap

TEXTS = ["The old river is wide.", "The old tower casts a shadow.", "Bread."]


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    scores = overlap("where is the old tower", TEXTS)
    assert scores.argmax() == 1
    assert 0 < scores[0] < 0.5 < scores[1] <= 1
    assert scores[2] == 0


def test_a_question_that_shares_nothing_scores_nothing_and_does_not_fail() -> None:
    assert overlap("???", TEXTS).tolist() == [0, 0, 0]
    assert overlap("", ["", ""]).tolist() == [0, 0]
