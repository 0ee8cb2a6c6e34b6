"""The published everyday questions are what their card says they are."""

from collections import Counter

from lab.answers.data import everyday, part_of, reworded
from tiffin.cli.answer_figures import holds
from tiffin.grounding.evidence import Passage, candidates


def test_every_supporting_sentence_stands_in_a_document_as_a_sentence_of_its_own() -> None:
    for case in everyday() + reworded():
        passages = [Passage(index, text, 0.0) for index, text in enumerate(case.passages)]
        texts = [item.text for item in candidates(case.question, passages, limit=100)]
        for sentence in case.supporting:
            assert any(sentence in text for text in case.passages), (case.id, sentence)
            assert sentence in texts, (case.id, sentence)


def test_a_third_is_unanswerable_and_every_kind_is_in_both_parts() -> None:
    kinds = {
        part: Counter(case.kind for case in everyday(part)) for part in ("development", "test")
    }
    assert set(kinds["development"]) == set(kinds["test"])
    every = kinds["development"] + kinds["test"]
    assert every.total() >= 60
    assert every["unanswerable"] >= every.total() / 3
    assert every["yes-no"] >= 10
    assert every["two-passages"] >= 8
    assert every["contradiction"] >= 6


def test_answers_are_in_the_supporting_sentences() -> None:
    for case in everyday() + reworded():
        assert bool(case.answers) == bool(case.supporting) == (case.kind != "unanswerable")
        if case.kind != "yes-no" and case.answers:
            assert holds("\n".join(case.supporting), case.answers), case.id
    assert len({case.id for case in everyday()}) == len(everyday())


def test_the_texts_of_reworded_questions_are_of_one_part() -> None:
    groups = {part: {case.group for case in reworded(part)} for part in ("development", "test")}
    assert not groups["development"] & groups["test"]
    assert sum(case.kind == "unanswerable" for case in reworded()) >= len(reworded()) / 3


def test_an_article_is_always_of_the_same_part() -> None:
    assert (part_of("Warsaw"), part_of("Rhine")) == ("test", "development")
