"""Which questions share an answer, by their wording and their evidence."""

import pytest

from tiffin.grounding.alike import Nearness, Worth, shipped
from tiffin.grounding.questions import sought
from tiffin.grounding.same import RULES_FROM, Asked, Kept, agree, differences, repeats

SENTENCES = (
    "The tower was designed by Anna Kell in 1889.",
    "Residents pay 5 euros and visitors pay 10 euros to park.",
    "Two-factor sign-in is turned on under Settings.",
)


def judged(kept: str, new: str, sentence: str = SENTENCES[0], answer: str = "") -> list[str]:
    first = Kept(kept, (sentence,), None, (sentence,), answer)
    return list(differences(first, Asked(new, (sentence,)), Nearness(1.0), RULES_FROM))


@pytest.mark.parametrize(
    ("kept", "new"),
    [
        ("Who designed the tower?", "who designed the tower"),
        ("Who designed the tower?", "Hi, please tell me who designed the tower?"),
        ("Who designed the tower?", "Who was the architect that planned the whole building?"),
        ("In what year was the tower designed?", "When was the tower designed?"),
        ("How much is a boiler service?", "What's the price of a boiler service?"),
        ("Who were Kell's allies?", "Who were the allies of Kell?"),
        ("For my plan, how do I cancel?", "How do I cancel for my plan?"),
        ("When was Alma visited by Kell?", "In what year did Kell visit Alma?"),
        ("Where does Kell have deposits of oil?", "In which places has Kell oil deposits?"),
        ("In what way is it closed?", "How is it closed?"),
    ],
)
def test_another_wording_is_the_same_question(kept: str, new: str) -> None:
    assert judged(kept, new) == []


@pytest.mark.parametrize(
    ("kept", "new", "reason"),
    [
        ("How do I enable it?", "How do I disable it?", "opposite"),
        ("Which canals are deep?", "Which canals are shallow?", "opposite"),
        ("What did Kell tell Brandt about Alma?", "What did Kell tell Alma about Brandt?", "order"),
        ("What is the rent for a year?", "What is the rent for a day?", "opposite"),
        ("Which plans include calls?", "Which plans do not include calls?", "negation"),
        ("What did Kell earn in 1889?", "What did Kell earn in 1890?", "number"),
        ("What is the fee?", "What is the fee per day?", "number"),
        ("What does a ticket cost each day?", "What does a ticket cost annually?", "number"),
        ("When did Anna Kell die?", "When did Anna Brandt die?", "name"),
        ("Who designed the tower?", "When did someone design the tower?", "asked"),
        ("Why was it built?", "How was it built?", "asked"),
        ("Who attacked Brandt?", "Who did Brandt attack?", "order"),
        ("Who attacked Brandt?", "Who was attacked by Brandt?", "order"),
        ("Which trains go from Alma?", "Which trains go to Alma?", "order"),
        ("Convert savings to current", "Convert current to savings", "order"),
        ("Who designed the tower?", "Who designed the tower in winter?", "scope"),
        ("Who designed the tower?", "Who designed the bridge?", "scope"),
        ("Are dogs allowed?", "Are dogs welcome?", "polarity"),
        ("What is the rent?", "And what about the deposit?", "refers"),
    ],
)
def test_what_asks_for_something_else_is_told_apart(kept: str, new: str, reason: str) -> None:
    assert reason in judged(kept, new)


@pytest.mark.parametrize(
    ("kept", "new", "reason"),
    [
        ("What does a pass cost per year?", "What does a pass cost annually?", "number"),
        ("Who led the Canadian team?", "Who led the team of Canada?", "name"),
        ("What is it called?", "Which hormones rise when it falls?", "asked"),
    ],
)
def test_another_form_of_a_word_is_no_difference(kept: str, new: str, reason: str) -> None:
    assert reason not in judged(kept, new)


def test_a_repeat_needs_no_head_however_politely_it_is_said() -> None:
    kept = Kept("Who designed it?", SENTENCES[:1], None, SENTENCES[:1])
    new = Asked("Hi, please tell me: who designed it?? Thanks", SENTENCES[:1])
    assert differences(kept, new, Nearness(0.9), 0.0) == []


def test_two_parts_of_one_sentence_are_two_questions() -> None:
    assert "scope" in judged(
        "What do residents pay to park?", "What do visitors pay to park?", SENTENCES[1]
    )


def test_a_question_that_says_what_the_answer_adds_asks_for_something_else() -> None:
    reasons = judged("Who designed the tower?", "What did Anna Kell design?", answer="Anna Kell")
    assert "given" in reasons


def test_other_evidence_is_another_question_however_alike_they_are() -> None:
    kept = Kept("Who leads it?", SENTENCES[:1], None, SENTENCES[:1])
    assert differences(kept, Asked("Who leads it?", SENTENCES[1:2]), Nearness(1.0), 0.01) == [
        "evidence"
    ]


def test_support_that_the_new_question_does_not_find_is_missing() -> None:
    kept = Kept("Who designed the tower?", SENTENCES[:2], None, SENTENCES[:2])
    new = Asked("Who designed the tower?", SENTENCES[:1])
    assert differences(kept, new, Nearness(1.0), 0.01) == ["evidence"]


@pytest.mark.parametrize(
    ("new", "logit", "served"),
    [
        ("By whom was the tower planned?", 6.5, True),
        ("Who founded the tower?", 7.5, True),
        ("Who designed the monument?", 3.0, False),
        ("Who designed the tower for children?", 7.0, False),
        ("Who built the tower?", 2.0, False),
    ],
)
def test_the_head_weighs_other_words_by_what_the_sentence_is_worth_to_both(
    new: str, logit: float, *, served: bool
) -> None:
    kept = Kept("Who designed the tower?", SENTENCES[:1], Worth(7.0, 2.0), SENTENCES[:1])
    reading, paired = (2.0, 1.0) if served else (-1.0, -1.0)
    asked = Asked(new, SENTENCES[:1], Worth(logit, reading))
    assert (differences(kept, asked, Nearness(0.95, paired), 0.01) == []) == served


def test_a_smaller_share_of_wrong_hits_must_be_surer() -> None:
    head = shipped()
    limits = [head.threshold(bound) for bound in head.bounds()]
    assert limits == sorted(limits, reverse=True)
    assert head.threshold(0.018) == head.threshold(0.015), "the next smaller bound holds"
    assert head.threshold(0.0001) == 1


def test_what_a_question_seeks() -> None:
    assert [
        sought(question)
        for question in (
            "Why is it closed?",
            "What's the price?",
            "Which hotel is it?",
            "How does it work?",
            "What is it?",
        )
    ] == ["reason", "amount", "thing", "manner", "what"]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("Please tell me how tall the lighthouse is.", True),
        ("Hi, how tall is the lighthouse? Thanks", True),
        ("How tall was the lighthouse?", False),
        ("Is the tall lighthouse how?", False),
        ("How is the lighthouse tall?", False),
    ],
)
def test_a_repeat_may_be_polite_and_indirect(other: str, same: bool) -> None:
    assert repeats("How tall is the lighthouse?", other) == same


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (
            "It is 324 metres tall.",
            "The tower of 1889 is 324 metres tall.",
            True,
        ),
        ("It is 324 metres tall.", "It is 330 metres tall.", False),
        ("It is covered.", "It is not covered.", False),
        ("They were led by Kléber.", "They were led by Napoleon.", False),
        ("It ends on 3 May.", "It ends on 3 June.", False),
    ],
)
def test_two_answers_agree_unless_their_figures_dates_names_or_denials_differ(
    one: str, other: str, alike: bool
) -> None:
    assert agree(one, other) is alike
    assert agree(other, one) is alike
