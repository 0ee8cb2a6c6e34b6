"""Replays recorded decisions under another policy: which tiers, at what cost and quality.

Called by `tiffin router replay`. Each decision is made again by the code that the Router runs, from
what was recorded: complexity, needs and lengths, but not the query. Quality is the mean probability
that an answer suffices, so it is the model's expectation and not a measurement.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tiffin.config.routing import CapSettings, PolicySettings
from tiffin.core.errors import TiffinError
from tiffin.core.messages import Alternative, RouteRequest, TierState
from tiffin.routing.fleet import Fleet
from tiffin.routing.ledger import Recorded
from tiffin.routing.policy import choose, p_suffices
from tiffin.routing.storage import LedgerError, open_existing


@dataclass
class Outcome:
    """Sums over all replayed requests. `refused` counts those that no tier may answer."""

    requests: int = 0
    refused: int = 0
    usd: float = 0.0
    quality: float = 0.0
    tiers: Counter[str] = field(default_factory=Counter)

    def add(self, tier: str, usd: float, quality: float) -> None:
        """Count one decision."""
        self.requests += 1
        self.tiers[tier] += 1
        self.usd += usd
        self.quality += quality


def read_decisions(where: str | Path) -> list[Recorded]:
    """All decisions in the ledger, oldest first. Raises LedgerError."""
    books = open_existing(where)
    try:
        rows = books.read("SELECT record FROM decisions ORDER BY at")
        return [msgspec.msgpack.decode(row[0], type=Recorded) for row in rows]
    except msgspec.MsgspecError as error:
        raise LedgerError(f"the ledger {where} cannot be read: {error}") from error
    finally:
        books.close()


def replay(
    recorded: Iterable[Recorded],
    name: str,
    policy: PolicySettings,
    fleet: Fleet,
    caps: CapSettings,
) -> tuple[Outcome, Outcome]:
    """What was decided and what the policy would decide, without requests that named a tier.

    Raises LedgerError if the settings lack a tier that was among the alternatives, because sums
    over other tiers could not be compared.
    """
    recorded = list(recorded)
    _check_tiers(recorded, fleet)
    was, would = Outcome(), Outcome()
    for item in recorded:
        decision = item.decision
        if decision.complexity is None or item.model in fleet.tiers:
            continue
        seen = {other.tier: other for other in decision.alternatives}
        if decision.tier in seen:
            chosen = seen[decision.tier]
            was.add(decision.tier, chosen.usd, chosen.p_suffices)
        try:
            again = choose(name, policy, decision.complexity, _request(item, would), fleet, caps)
        except TiffinError:
            would.refused += 1
            continue
        usd = next(other.usd for other in again.alternatives if other.tier == again.tier)
        would.add(again.tier, usd, p_suffices(fleet[again.tier], decision.complexity))
    return was, would


def _check_tiers(recorded: Iterable[Recorded], fleet: Fleet) -> None:
    known = {other.tier for item in recorded for other in item.decision.alternatives}
    if lacking := sorted(known - set(fleet.tiers)):
        message = (
            f"the ledger was written with tiers that these settings lack: {', '.join(lacking)};"
            f" here are {', '.join(fleet.tiers)}: use the settings of that time"
        )
        raise LedgerError(message)


def _request(item: Recorded, so_far: Outcome) -> RouteRequest:
    """The request as the policy sees it; the strongest tier's share is that of the replay."""
    strong = max(item.decision.alternatives, key=lambda other: other.p_suffices, default=None)
    share = so_far.tiers[strong.tier] / so_far.requests if strong and so_far.requests else 0.0
    return RouteRequest(
        "",
        item.model,
        needs=item.needs,
        prompt_tokens=item.prompt_tokens,
        max_tokens=item.max_tokens,
        tiers={other.tier: _state(other) for other in item.decision.alternatives},
        strong_share=share,
    )


def _state(seen: Alternative) -> TierState:
    return TierState(ttft_ms=seen.ttft_ms)
