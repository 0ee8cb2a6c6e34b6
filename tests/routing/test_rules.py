"""The router's rules: which tier, and the reason it gives."""

import pytest

from tiffin.routing.rules import decide, demand_of

BOTH = ("small", "large")


def test_a_plain_question_goes_to_the_cheapest_tier_and_falls_back_upwards() -> None:
    decision = decide("When was the tower finished?", "auto", BOTH)
    assert (decision.tier, decision.fallbacks) == ("small", ["large"])


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("What does `def f(x): return x` do? def f(x): return x", "code"),
        ("for (i = 0; i < 9; i++) {\n  f(i);\n}\nWhat is f?", "code"),
        ("What is $\\frac{17}{23}$ plus\nA. \\sqrt{2}", "mathematics"),
        ("What is 17 * 23?", "mathematics"),
        ("Compare the two treaties.", "reasoning"),
        ("word " * 61, "longer than 60 words"),
    ],
)
def test_a_demanding_question_goes_to_the_most_capable_tier(query: str, reason: str) -> None:
    decision = decide(query, "auto", BOTH)
    assert (decision.tier, decision.fallbacks) == ("large", ["small"])
    assert reason in decision.reason


def test_length_and_mathematics_are_left_to_a_model_that_judged_them() -> None:
    for query in ("What is 17 * 23?", "word " * 61):
        assert demand_of(query) is not None
        assert demand_of(query, judged=True) is None
    assert demand_of("Compare the two.", judged=True) == "the question asks for reasoning"
    assert demand_of("Что это такое?", judged=True) == "the question is not in the Latin alphabet"


def test_a_named_tier_is_asked_and_no_other() -> None:
    decision = decide("Compare everything.", "small", BOTH)
    assert (decision.tier, decision.fallbacks) == ("small", [])


def test_with_one_tier_there_is_no_choice() -> None:
    assert decide("Compare everything.", "auto", ("small",)).reason == "the only tier"
