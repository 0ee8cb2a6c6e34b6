"""What travels with a request through every stage: its id, deadline, trace, and its bill.

The bill says which tiers were asked, how that ended and what each attempt cost.
"""

import secrets
import time
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from models.values import TokenUsage
from tiffin.core.checks import CheckRun
from tiffin.core.deadline import Deadline
from tiffin.core.grant import EVERYTHING, Grant
from tiffin.core.messages import RouteDecision

BEGUN = "begun"
REPLACED = "replaced"
ABANDONED = "abandoned"
NO_USAGE = TokenUsage(prompt_tokens=0, completion_tokens=0)

DEFAULT_TENANT = "default"
"""Whose a request is that brings no key."""


def new_request_id() -> str:
    """For a request that brings none."""
    return f"req-{secrets.token_hex(16)}"


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


class CacheUse(msgspec.Struct, frozen=True):
    """What the cache did for a request. `id` names the entry, `tier` who wrote the answer.

    `similarity` is the cosine of a question that was asked in other words. The layer is "retrieval"
    if the answer was computed anew from embeddings and scores that were all kept.
    """

    layer: Literal["exact", "semantic", "retrieval", "miss"]
    id: str
    age_s: float = 0.0
    similarity: float | None = None
    tier: str = ""

    @property
    def gave_answer(self) -> bool:
        """Whether the answer is a kept one."""
        return self.layer in {"exact", "semantic"}


@dataclass
class Bill:
    """All attempts of one request, and the decision that they follow.

    `cache` is None if the cache was not asked. `answered_by` is the tier of the answer, or `quote`;
    empty until there is one.
    """

    decision: RouteDecision | None = None
    cache: CacheUse | None = None
    answered_by: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    encoded_tokens: int = 0
    """What the encoders read."""
    degraded: list[str] = field(default_factory=list)
    """What the answer was given without."""

    @property
    def tokens(self) -> int:
        """What all attempts read and wrote."""
        usages = [attempt.usage for attempt in self.attempts]
        return sum([usage.prompt_tokens + usage.completion_tokens for usage in usages])

    @property
    def closed(self) -> bool:
        """Whether no attempt is in work, so that the cost is final."""
        return all(attempt.outcome != BEGUN for attempt in self.attempts)

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


class RequestContext(msgspec.Struct, frozen=True):
    """Made once at the door (or from a hop's headers); only its bill and checks are written on.

    `tenant` and `key` say whose request it is; `key` is a name for the key, never the key itself,
    and `grant` is what the key allows.
    `deadline_named` says that the client named the deadline itself; an answer must begin by
    `begin_by`, where that is earlier. `whole` says that nobody reads the answer as it is written,
    so that its pieces may come several at a time. `tenant`, and `batch`, which says that nobody
    waits for it, decide who goes first when there is a queue. `cache_control` is the header of that
    name. `arrived` is in seconds of the Unix epoch.
    """

    deadline: Deadline
    request_id: str = msgspec.field(default_factory=new_request_id)
    traceparent: str | None = None
    tenant: str = DEFAULT_TENANT
    batch: bool = False
    deadline_named: bool = False
    begin_by: Deadline | None = None
    whole: bool = False
    cache_control: str = ""
    key: str = ""
    grant: Grant = EVERYTHING
    arrived: float = msgspec.field(default_factory=time.time)
    bill: Bill = msgspec.field(default_factory=Bill)
    checks: list[CheckRun] = msgspec.field(default_factory=list)

    def begin_s(self) -> float:
        """Seconds left for an answer to begin."""
        left_s = self.deadline.remaining()
        return left_s if self.begin_by is None else min(left_s, self.begin_by.remaining())
