"""What rules a tier out because of money: caps on a request, and what a day or month may cost.

Called by `tiffin.routing.policy`. A refusal says what was spent and when the sum starts again.
"""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from tiffin.config.routing import CapSettings, PolicySettings
from tiffin.core.messages import RouteRequest

Kind = Literal["cannot", "spent", "policy", "busy"]
"""Why a tier is ruled out: it can never answer this, its cost exceeds a cap, the policy avoids it,
or it does not answer now. The last two are ignored if nothing else is left."""


class Refusal(msgspec.Struct, frozen=True):
    """One reason. One of kind `spent` ends at `again_at`, in seconds of the Unix epoch."""

    kind: Kind
    reason: str
    again_at: float = 0.0


def too_dear(
    usd: float, policy: PolicySettings, request: RouteRequest, caps: CapSettings
) -> Iterator[Refusal]:
    """Refusals by the caps. The cost is that of the longest answer allowed, so free tiers pass."""
    if usd <= 0:
        return
    for what, cap in (
        ("the policy's cap on a request", policy.max_request_usd),
        ("the cap on a request", caps.request_usd),
    ):
        if cap is not None and usd > cap:
            yield Refusal("cannot", f"may cost {usd:.6f} USD, over {what}, {cap:g} USD")
    spent, budgets = request.spent, request.budgets
    midnight, first = _starts_again(spent.at)
    for what, cap, so_far, again in (
        ("the key's cap for today", caps.key_day_usd, spent.key_usd, midnight),
        ("the cap for today", caps.day_usd, spent.day_usd, midnight),
        ("the key's budget for today", budgets.get("key_day"), spent.key_usd, midnight),
        ("the key's budget for this month", budgets.get("key_month"), spent.key_month_usd, first),
        ("the tenant's budget for today", budgets.get("tenant_day"), spent.tenant_usd, midnight),
        (
            "the tenant's budget for this month",
            budgets.get("tenant_month"),
            spent.tenant_month_usd,
            first,
        ),
    ):
        if cap is not None and so_far + usd > cap:
            message = (
                f"may cost {usd:.6f} USD, and {so_far:.6f} of {what}, {cap:g} USD, are spent;"
                f" the count starts again on {again:%Y-%m-%d %H:%M} UTC"
            )
            yield Refusal("spent", message, again.timestamp())


def wait_s(refused: Sequence[Sequence[Refusal]], at: float) -> int | None:
    """Seconds until the first tier may be paid for again; `refused` are the refusals of each."""
    ends = [
        max(one.again_at for one in refusals if one.kind == "spent")
        for refusals in refused
        if {one.kind for one in refusals} >= {"spent"}
        and not any(one.kind == "cannot" for one in refusals)
    ]
    return max(1, math.ceil(min(ends) - at)) if ends else None


def _starts_again(at: float) -> tuple[dt.datetime, dt.datetime]:
    """The next UTC midnight, and the next first day of a month."""
    today = dt.datetime.fromtimestamp(at, dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    month = (today.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    return today + dt.timedelta(days=1), month
