"""Our Prometheus metrics; BentoML's `/metrics` exposes them beside its own.

Names are `tiffin_*`, base units, bounded labels.
"""

from prometheus_client import Counter, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

stage_seconds = Histogram(
    "tiffin_stage_seconds", "Time of a pipeline stage", ["stage"], buckets=_SECONDS
)
first_token_seconds = Histogram(
    "tiffin_first_token_seconds", "From request to first text", ["tier"], buckets=_SECONDS
)
answers_total = Counter("tiffin_answers_total", "Questions by outcome", ["outcome", "tier"])
degraded_total = Counter("tiffin_degraded_total", "What answers were given without", ["what"])
