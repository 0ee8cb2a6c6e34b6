"""One deadline, split: who may use how much, and what is never taken from a later stage."""

import pytest

from tiffin.config.resilience import BudgetSettings
from tiffin.core.context import Deadline
from tiffin.pipeline.budget import Budget


def left_s(budget: Budget, stage: str) -> float:
    return budget.until(stage).remaining()


def test_by_default_five_seconds_leave_the_answer_three() -> None:
    budget = Budget.of(Deadline.after(5), BudgetSettings())
    assert left_s(budget, "safety") == pytest.approx(5.0, abs=0.05)
    assert left_s(budget, "generate") == pytest.approx(4.5, abs=0.05)
    assert left_s(budget, "rerank") == pytest.approx(1.5, abs=0.05)
    assert left_s(budget, "embed") == pytest.approx(1.28, abs=0.05)


def test_budgets_scale_with_the_deadline() -> None:
    budget = Budget.of(Deadline.after(0.5), BudgetSettings())
    assert left_s(budget, "rerank") == pytest.approx(0.15, abs=0.02)


def test_what_a_stage_leaves_over_is_the_next_one_s() -> None:
    """An embedding that took no time leaves rerank its own 200 ms, search's, its and the slack."""
    budget = Budget.of(Deadline.after(5), BudgetSettings())
    own = BudgetSettings()
    slack_ms = own.embed_ms + own.search_ms + own.rest_ms
    assert left_s(budget, "rerank") * 1000 == pytest.approx(own.rerank_ms + slack_ms, abs=50)


def test_a_stage_that_finds_less_than_half_its_budget_does_less() -> None:
    spent = Deadline.after(5)
    whole = Budget.of(spent, BudgetSettings())
    late = Budget(Deadline.after(1.9), whole.shares_s)
    assert not whole.short("generate")
    assert late.short("generate")
