"""What a simulation found, as rows of a table and as a plot in text."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from tiffin.config.scaling import Scaling
from tiffin.deploy.simulation.queueing import Moment, Outcome, percentile

BARS = " ▁▂▃▄▅▆▇█"
HEADINGS = (
    "scaled on", "replicas (mean)", "most", "queue (most)", "p50 s", "p95 s", "p99 s",
    "cold", "SLO misses", "replica hours", "idle", "cost",
)  # fmt: skip
"""`cold`: requests that arrived while no replica was ready; `idle`: hours without a request."""


@dataclass(frozen=True)
class Finding:
    """One way of scaling, and how the trace went with it."""

    name: str
    outcome: Outcome
    slo_s: float
    scaling: Scaling

    def figures(self) -> dict[str, float]:
        """What HEADINGS name, as numbers for a program; shares are from 0 to 1."""
        latencies, moments = self.outcome.latencies_s, self.outcome.moments
        counts = [moment.replicas for moment in moments] or [0]
        hours = self.outcome.replica_s / 3600
        missed = sum(latency > self.slo_s for latency in latencies)
        return {
            "replicas_mean": sum(counts) / len(counts),
            "replicas_most": max(counts),
            "queue_most": max((moment.queue for moment in moments), default=0),
            **{f"p{percent}_s": percentile(latencies, percent) for percent in (50, 95, 99)},
            "cold": self.outcome.cold / max(1, len(latencies)),
            "slo_misses": missed / max(1, len(latencies)),
            "replica_hours": hours,
            "idle": self.outcome.idle_s / max(1e-9, self.outcome.replica_s),
            "usd": hours * self.scaling.usd_per_hour,
        }

    def cells(self) -> list[str]:
        """The cells of a row under HEADINGS."""
        mean, most, queue, p50, p95, p99, cold, missed, hours, idle, usd = self.figures().values()
        return [
            self.name,
            f"{mean:.2f}",
            f"{most:.0f}",
            f"{queue:.0f}",
            *(f"{seconds:.2f}" for seconds in (p50, p95, p99)),
            f"{100 * cold:.1f} %",
            f"{100 * missed:.1f} %",
            f"{hours:.2f}",
            f"{100 * idle:.0f} %",
            f"${usd:.2f}",
        ]


def plot(moments: Sequence[Moment], width: int = 72) -> str:
    """Rate, replicas, queue and latency over time, one line each."""
    series = {
        "requests/s": [m.rate_per_s for m in moments],
        "replicas": [float(m.ready) for m in moments],
        "queue": [float(m.queue) for m in moments],
        "p95 s": [m.p95_s for m in moments],
    }
    return "\n".join(f"{name:>10} {_line(values, width)}" for name, values in series.items())


def _line(values: Sequence[float], width: int) -> str:
    if not values:
        return ""
    columns = min(width, len(values))
    edges = [round(column * len(values) / columns) for column in range(columns + 1)]
    tops = [max(values[a:b]) for a, b in itertools.pairwise(edges)]
    most = max(tops) or 1.0
    bars = "".join(BARS[round(top / most * (len(BARS) - 1))] for top in tops)
    return f"{bars} {max(tops):g} at most"
