"""Describes every metric of ours as the table of docs/metrics.md.

`python -m tiffin.telemetry.described` prints it; `tests/test_house.py` checks that the page has it.
"""

from types import ModuleType

from prometheus_client import Counter, Gauge, Histogram

from tiffin.telemetry import metrics, requests

KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}


def metrics_table() -> str:
    """One row a metric, in the order in which the code has them, requests first."""
    rows = ["| metric | kind | labels | what it counts |", "|---|---|---|---|"]
    return "\n".join([*rows, *_rows(requests), *_rows(metrics)])


def _rows(module: ModuleType) -> list[str]:
    made = [value for value in vars(module).values() if type(value) in KINDS]
    return [_row(metric) for metric in made]


def _row(metric: Counter | Gauge | Histogram) -> str:
    described = next(iter(metric.describe()))
    kind = KINDS[type(metric)]
    name = described.name + ("_total" if kind == "counter" else "")
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001
    return f"| `{name}` | {kind} | {labels} | {described.documentation} |"


if __name__ == "__main__":
    print(metrics_table())  # noqa: T201
