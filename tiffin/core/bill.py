"""The bill of one request: which tiers were asked, how it ended, what each attempt cost.

It hangs on the request's context: `tiffin.pipeline.generate` writes it, the API shows it.
"""

from dataclasses import dataclass, field

from models.values import TokenUsage
from tiffin.core.messages import RouteDecision

BEGUN = "begun"
REPLACED = "replaced"
NO_USAGE = TokenUsage(prompt_tokens=0, completion_tokens=0)


@dataclass
class Attempt:
    """One tier asked once. `outcome` is `begun`, `ok`, `abandoned`, `replaced` or an error's type.

    `most_usd` is what it may come to while it is in work, reckoned for the longest answer allowed.
    `estimated` says that the tier told no usable token counts, and ours stand in.
    """

    number: int
    tier: str
    model: str
    provider: str
    outcome: str = BEGUN
    usage: TokenUsage = NO_USAGE
    usd: float = 0.0
    most_usd: float = 0.0
    strongest_usd: float = 0.0
    estimated: bool = False
    ttft_ms: float | None = None
    seconds: float = 0.0


@dataclass
class Bill:
    """All attempts of one request, and the decision that they follow."""

    decision: RouteDecision | None = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def usd(self) -> float:
        """What all attempts cost, the failed ones too."""
        return sum(attempt.usd for attempt in self.attempts)

    @property
    def committed_usd(self) -> float:
        """What was spent, and what the attempts in work may yet come to."""
        return sum(
            max(attempt.usd, attempt.most_usd) if attempt.outcome == BEGUN else attempt.usd
            for attempt in self.attempts
        )

    @property
    def strongest_usd(self) -> float:
        """What the answer would have cost on the strongest tier."""
        return sum(attempt.strongest_usd for attempt in self.attempts)
