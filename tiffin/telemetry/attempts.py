"""Counts decisions and attempts at tiers. Called by `tiffin.routing.meter`."""

from tiffin.core.context import Attempt
from tiffin.core.messages import RouteDecision
from tiffin.telemetry import metrics
from tiffin.telemetry.metrics import series


def decided(decision: RouteDecision) -> None:
    """Count a routing decision; only the Router judges complexity."""
    by = "router" if decision.complexity is not None else "entry"
    series(metrics.decisions_total, decision.policy, decision.tier, by).inc()


def observe(attempt: Attempt) -> None:
    """Count an attempt that has ended; of a whole answer also the time, and that of each token."""
    tier = attempt.tier
    series(metrics.attempts_total, tier, attempt.outcome).inc()
    series(metrics.cost_usd_total, tier).inc(attempt.usd)
    if attempt.outcome != "ok":
        return
    series(metrics.tier_seconds, tier).observe(attempt.seconds)
    later = attempt.usage.completion_tokens - 1
    if attempt.ttft_ms is not None and later > 0:
        each_s = (attempt.seconds - attempt.ttft_ms / 1000) / later
        series(metrics.output_token_seconds, tier).observe(each_s)
