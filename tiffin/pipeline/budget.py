"""The deadline of one request, split among its stages. Made by `RagPipeline`, once a question.

Each stage has a budget: a share of the deadline. A stage may also use what the stages before it
left over, and the slack that belongs to none (`rest_ms`); what it may never use is the budget of a
stage that still comes. So its latest end is the deadline less the budgets of all later stages. A
stage that is not done by then is given up for its declared substitute:

    embed     -> the passages by the words they share with the question   ("embed")
    search    -> fewer candidates for the reranker                        ("fewer_candidates")
    rerank    -> the order of the vector search                           ("rerank")
    generate  -> the cheapest tier, when time is short before it begins   ("smaller_tier")
              -> what is written so far                                   ("short_answer")
              -> the sentences found, when nothing is written             ("generation")
"""

from dataclasses import dataclass

from tiffin.config.resilience import BudgetSettings
from tiffin.core.context import Deadline

STAGES = ("embed", "search", "rerank", "generate", "safety")

ENOUGH = 0.5
"""A stage that finds less than this share of its budget left is begun in its smaller form."""


@dataclass(frozen=True)
class Budget:
    """The latest end of every stage of one request."""

    deadline: Deadline
    shares_s: dict[str, float]

    @classmethod
    def of(cls, deadline: Deadline, settings: BudgetSettings) -> "Budget":
        """Split what remains until the deadline in the ratios of the settings."""
        parts = {stage: float(getattr(settings, f"{stage}_ms")) for stage in STAGES}
        whole = sum(parts.values()) + settings.rest_ms
        scale = deadline.remaining() / whole
        return cls(deadline, {stage: part * scale for stage, part in parts.items()})

    def until(self, stage: str) -> Deadline:
        """When the stage must end, so that every later one still has its whole budget."""
        later = STAGES[STAGES.index(stage) + 1 :]
        return Deadline(self.deadline.at - sum(self.shares_s[name] for name in later))

    def short(self, stage: str) -> bool:
        """Whether so little is left for the stage that it should do less."""
        return self.until(stage).remaining() < ENOUGH * self.shares_s[stage]
