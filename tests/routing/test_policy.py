"""What each policy chooses, and what it says of the others."""

from typing import Any

import pytest

from tests.routing.fleets import settings_with
from tiffin.config.routing import CapSettings, PolicySettings
from tiffin.core.errors import InvalidRequest, NotFound, SpendingCapReached
from tiffin.core.messages import (
    Complexity,
    RouteDecision,
    RouteRequest,
    Spent,
    TierState,
)
from tiffin.routing.assembly import decider_of, fleet_of
from tiffin.routing.fleet import Fleet
from tiffin.routing.policy import choose

EASY = Complexity("simple", 0.1, 0.95, "test")
HARD = Complexity("complex", 0.9, 0.40, "test")
FLEET = fleet_of(settings_with())


def decide(
    policy: dict[str, Any],
    complexity: Complexity = HARD,
    caps: dict[str, Any] | None = None,
    **ask: Any,
) -> RouteDecision:
    request = RouteRequest("q", "p", **{"prompt_tokens": 1000, "max_tokens": 200, **ask})
    return choose(
        "p",
        PolicySettings.model_validate(policy),
        complexity,
        request,
        FLEET,
        CapSettings.model_validate(caps or {}),
    )


def test_the_cheapest_that_suffices_is_asked() -> None:
    assert decide({"target_quality": 0.9}, EASY).tier == "small"
    assert decide({"target_quality": 0.6}, HARD).tier == "mid"
    strong = decide({"target_quality": 0.9}, HARD)
    assert (strong.tier, strong.fallbacks) == ("big", ["mid", "small"])
    assert strong.reason == "the cheapest that is expected to suffice with 0.9: 1.00"


def test_every_alternative_tells_its_chance_its_cost_and_what_rules_it_out() -> None:
    decision = decide({"max_request_usd": 0.01})
    chances = {other.tier: other.p_suffices for other in decision.alternatives}
    assert chances == pytest.approx({"small": 0.4, "mid": 0.7, "big": 1.0})
    big = decision.alternatives[-1]
    assert big.usd == pytest.approx(0.01 + 0.006)
    assert "over the policy's cap" in (big.refused or "")
    assert (decision.tier, "big" in decision.fallbacks) == ("mid", False)


def test_a_cap_on_a_request_holds_for_all_its_answers_and_attempts() -> None:
    policy = {"max_request_usd": 0.02, "target_quality": 0.9}
    assert decide(policy).tier == "big"
    three = decide(policy, answers=3, caps={"request_usd": 0.03})
    assert three.tier == "mid"
    assert three.alternatives[-1].usd == pytest.approx(3 * 0.016)
    assert three.max_usd == 0.02, "the lower of the policy's cap and everybody's"


def test_a_request_goes_only_where_it_can_be_answered() -> None:
    assert decide({"target_quality": 0}, needs=["logprobs"]).tier == "small"
    with pytest.raises(InvalidRequest, match=r"small: lacks vision\. mid: lacks vision"):
        decide({}, needs=["vision"])
    assert decide({"target_quality": 0}, prompt_tokens=5000).tier == "mid"


def test_a_spent_day_leaves_what_is_free_and_then_nothing() -> None:
    caps = {"key_day_usd": 0.5}
    spent = Spent(key_usd=0.5, day_usd=2.0)
    assert decide({"target_quality": 0.9}, caps=caps, spent=spent).tier == "small"
    ask = RouteRequest("x", "auto", spent=spent)
    paid = Fleet({name: FLEET.tiers[name] for name in ("mid", "big")})
    with pytest.raises(SpendingCapReached, match="the key's cap for today") as raised:
        choose("auto", PolicySettings(), HARD, ask, paid, CapSettings(**caps))
    assert raised.value.status == 429


def test_a_slow_tier_is_avoided_by_a_latency_target_and_taken_when_all_are_slow() -> None:
    slow = TierState(ttft_ms=900)
    policy = {"target_quality": 0.6, "max_ttft_ms": 500}
    assert decide(policy, tiers={"mid": slow}).tier == "big"
    assert decide(policy, tiers=dict.fromkeys(("small", "mid", "big"), slow)).tier == "mid"


def test_the_fastest_is_taken_among_those_that_suffice() -> None:
    states = {"small": TierState(ttft_ms=10), "mid": TierState(ttft_ms=300)}
    states["big"] = TierState(ttft_ms=90)
    assert decide({"prefer": "fastest", "target_quality": 0.6}, tiers=states).tier == "big"


def test_no_more_than_the_share_goes_to_the_strongest() -> None:
    policy = {"target_quality": 0.9, "max_strong_share": 0.2}
    assert decide(policy, strong_share=0.1).tier == "big"
    assert decide(policy, strong_share=0.2).tier == "mid"


def test_a_tier_that_does_not_answer_is_passed_over() -> None:
    away = TierState(available=False)
    full = TierState(waiting=64)
    assert decide({"target_quality": 0.9}, tiers={"big": away}).tier == "mid"
    assert decide({"target_quality": 0.9}, tiers={"big": full}).tier == "mid"
    assert decide({"pin": "big"}, tiers={"big": away}).tier in {"mid", "small"}


def test_the_cascade_is_for_whole_answers_only() -> None:
    policy = {"target_quality": 0.5, "escalate_below": 0.7}
    assert decide(policy, whole=True).escalate_below == 0.7
    assert decide(policy, whole=False).escalate_below is None


def test_a_rule_comes_first_and_is_named() -> None:
    decider = decider_of(settings_with())
    decision = decider.decide(RouteRequest("Compare 12 * 7 and 84.", "auto"))
    assert decision.complexity is not None
    assert decision.complexity.by == "rule: the question asks for reasoning"
    assert decision.features["reasoning"] == 1
    assert decision.tier == "mid", "one in two, of which it masters half"


def test_without_a_model_the_rules_judge_and_nothing_else_is_read_off() -> None:
    decision = decider_of(settings_with(), with_model=False).decide(
        RouteRequest("Compare 12 * 7 and 84.", "auto")
    )
    assert decision.complexity is not None
    assert decision.complexity.by == "rule: the question asks for reasoning"
    assert not decision.features


def test_a_named_tier_is_pinned_and_an_unknown_one_lists_all() -> None:
    decider = decider_of(settings_with(), with_model=False)
    pinned = decider.decide(RouteRequest("hello", "mid"))
    assert (pinned.tier, pinned.fallbacks, pinned.reason) == ("mid", [], "named by the request")
    assert (pinned.complexity, pinned.features) == (None, {}), "there was nothing to judge it for"
    with pytest.raises(NotFound, match="auto, auto-fast, auto-quality, small, mid, big"):
        decider.decide(RouteRequest("hello", "huge"))
