"""The deadline of one request, split among its stages. Made by `RagPipeline`, once a question.

Each stage has a budget: a share of the deadline. A stage may also use what the stages before it
left over, and the slack that belongs to none (`rest_ms`). What it may never use is the budget of a
stage that still comes. So its latest end is the deadline less the budgets of all later stages.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tiffin.core.deadline import Deadline

ENOUGH = 0.5
"""A stage that finds less than this share of its budget left does less."""


@dataclass(frozen=True)
class Budget:
    """The latest end of every stage of one request. `shares_s` has them in the order they run."""

    deadline: Deadline
    shares_s: Mapping[str, float]

    @classmethod
    def of(cls, deadline: Deadline, budgets_ms: Mapping[str, float], rest_ms: float) -> "Budget":
        """Split what remains until the deadline in the ratios of the stages' budgets."""
        scale = deadline.remaining() / (sum(budgets_ms.values()) + rest_ms)
        return cls(deadline, {stage: part * scale for stage, part in budgets_ms.items()})

    def until(self, stage: str) -> Deadline:
        """When the stage must end, so that every later one still has its whole budget."""
        order = list(self.shares_s)
        later = order[order.index(stage) + 1 :]
        return Deadline(self.deadline.at - sum(self.shares_s[name] for name in later))

    def short(self, stage: str) -> bool:
        """Whether so little is left for the stage that it should do less."""
        return self.until(stage).remaining() < ENOUGH * self.shares_s[stage]
