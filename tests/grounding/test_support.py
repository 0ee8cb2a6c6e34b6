"""What the evidence supports is released, and what it does not support is held back."""

import pytest

from tiffin.grounding.support import check

WARRANTY = [
    "The warranty does not cover damage from water.",
    "It lasts two years from the day of purchase.",
    "Mr Kell repairs the pumps in Lindau on 3 May.",
]
WATER = "Does the warranty pay for water damage?"
HOW_LONG = "How long is the warranty?"


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (WATER, "No."),
        (WATER, "No, the warranty does not cover damage from water."),
        (HOW_LONG, "It lasts 2 years from the day of purchase."),
        (HOW_LONG, "It lasts two years from the day of purchase."),
        ("Who repairs the pumps?", "Mr Kell repairs the pumps."),
    ],
)
def test_a_sentence_of_the_evidence_is_released(question: str, sentence: str) -> None:
    assert check(sentence, WARRANTY, question).reasons == ()


@pytest.mark.parametrize(
    ("question", "sentence", "reason"),
    [
        (WATER, "Yes.", "polarity"),
        (WATER, "Yes, the warranty covers damage from water.", "polarity"),
        (WATER, "The warranty covers damage from water.", "negation"),
        (HOW_LONG, "It lasts three years from the day of purchase.", "number"),
        (HOW_LONG, "It lasts two months from the day of purchase.", "unit"),
        ("When are the pumps repaired?", "Mr Kell repairs the pumps on 3 June.", "date"),
        ("Who repairs the pumps?", "Mr Musk repairs the pumps in Lindau.", "name"),
        ("Who is the CEO of Acme?", "The CEO of Acme is Kell.", "name"),
        (HOW_LONG, "Bananas grow in warm countries.", "overlap"),
    ],
)
def test_what_the_evidence_does_not_say_is_held_back(
    question: str, sentence: str, reason: str
) -> None:
    assert reason in check(sentence, WARRANTY, question).reasons


def test_what_the_question_says_is_no_evidence() -> None:
    evidence = ["Delivery costs 4.90 euros."]
    question = "How much does delivery to Canada cost?"
    assert not check("Delivery to Canada costs 4.90 euros.", evidence, question).supported


def test_words_of_two_passages_do_not_make_one_statement() -> None:
    evidence = [
        "The Heron 5 carries 140 kg.",
        "The battery of the Heron 7 has a capacity of 750 Wh.",
    ]
    sentence = "The battery of the Heron 5 has a capacity of 140 kg."
    assert not check(sentence, evidence, "How large is the battery?").supported


def test_a_verbatim_sentence_is_always_released() -> None:
    evidence = ["Reptiles are not permitted. You pay no more than 400 euros."]
    assert check("You pay no more than 400 euros.", evidence, "What do I pay?").supported


def test_without_evidence_nothing_is_released() -> None:
    assert check("Yes.", [], "Is it so?").reasons == ("no_evidence",)


@pytest.mark.parametrize("text", ["", "...", "😀", "x" * 10_000, "1 " * 5000, "def f(x): return x"])
def test_odd_sentences_are_judged_all_the_same(text: str) -> None:
    check(text, [text, "Some evidence."], text)
    check("It is so.", [text], text)
