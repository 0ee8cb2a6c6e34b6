"""The router's rules: what can be read off a query, and the reason that they give."""

import pytest

from tiffin.routing.rules import demand_of


@pytest.mark.parametrize(
    "query",
    [
        "When was the tower finished?",
        "Who wrote the code of conduct?",
        "What does proof of purchase mean for my warranty?",
        "How do I write to the class teacher?",
        "When was the programme approved?",
    ],
)
def test_a_plain_question_demands_nothing(query: str) -> None:
    assert demand_of(query) is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("What does `def f(x): return x` do? def f(x): return x", "code"),
        ("for (i = 0; i < 9; i++) {\n  f(i);\n}\nWhat is f?", "code"),
        ("What is $\\frac{17}{23}$ plus\nA. \\sqrt{2}", "mathematics"),
        ("What is 17 * 23?", "mathematics"),
        ("Compare the two treaties.", "reasoning"),
        ("Write a Python function that reverses a list.", "asks for code"),
        ("Could you implement quicksort in Rust?", "asks for code"),
        ("Fix this SQL query, please.", "asks for code"),
        ("Prove that the square root of 2 is irrational.", "asks for a proof"),
        ("Give a proof by induction.", "asks for a proof"),
        ("word " * 61, "longer than 60 words"),
    ],
)
def test_a_demanding_question_says_what_it_demands(query: str, reason: str) -> None:
    assert reason in (demand_of(query) or "")


def test_length_and_mathematics_are_left_to_a_model_that_judged_them() -> None:
    for query in ("What is 17 * 23?", "word " * 61):
        assert demand_of(query) is not None
        assert demand_of(query, judged=True) is None
    assert demand_of("Compare the two.", judged=True) == "the question asks for reasoning"
    assert demand_of("Что это такое?", judged=True) == "the question is not in the Latin alphabet"
