"""One deadline, split: who may use how much, and what is never taken from a later stage."""

import pytest

from tiffin.config.resilience import BudgetSettings
from tiffin.core.deadline import Deadline
from tiffin.pipeline.budget import Budget

BUDGETS_MS = {
    "embed": 50.0,
    "search": 20.0,
    "rerank": 200.0,
    "evidence": 300.0,
    "generate": 3000.0,
    "cite": 50.0,
}
REST_MS = 1380.0


def split(seconds: float) -> Budget:
    return Budget.of(Deadline.after(seconds), BUDGETS_MS, REST_MS)


def left_s(budget: Budget, stage: str) -> float:
    return budget.until(stage).remaining()


def test_the_settings_have_a_budget_for_every_stage() -> None:
    optional = {"confirm_ms", "rest_ms"}
    assert {f"{stage}_ms" for stage in BUDGETS_MS} | optional == set(BudgetSettings.model_fields)


def test_a_stage_that_is_off_reserves_no_time() -> None:
    without = {stage: ms for stage, ms in BUDGETS_MS.items() if stage != "cite"}
    budget = Budget.of(Deadline.after(5), without, REST_MS)
    assert left_s(budget, "generate") == pytest.approx(5.0, abs=0.05)


def test_by_default_five_seconds_leave_the_answer_three() -> None:
    budget = split(5)
    assert left_s(budget, "cite") == pytest.approx(5.0, abs=0.05)
    assert left_s(budget, "generate") == pytest.approx(4.95, abs=0.05)
    assert left_s(budget, "rerank") == pytest.approx(1.65, abs=0.05)
    assert left_s(budget, "embed") == pytest.approx(1.43, abs=0.05)


def test_budgets_scale_with_the_deadline() -> None:
    budget = split(0.5)
    assert left_s(budget, "rerank") == pytest.approx(0.165, abs=0.02)


def test_what_a_stage_leaves_over_is_the_next_one_s() -> None:
    """An embedding that took no time leaves rerank its own 200 ms, search's, its and the slack."""
    budget = split(5)
    slack_ms = BUDGETS_MS["embed"] + BUDGETS_MS["search"] + REST_MS
    own_ms = BUDGETS_MS["rerank"]
    assert left_s(budget, "rerank") * 1000 == pytest.approx(own_ms + slack_ms, abs=50)


def test_a_stage_that_finds_less_than_half_its_budget_does_less() -> None:
    spent = Deadline.after(5)
    whole = Budget.of(spent, BUDGETS_MS, REST_MS)
    late = Budget(Deadline.after(1.5), whole.shares_s)
    assert not whole.short("generate")
    assert late.short("generate")
