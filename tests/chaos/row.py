"""One row of the table: what was done, what should be seen, what was seen."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A test and its outcome. `missed` names the figures that were not reached."""

    test: str
    passes: str
    seen: str
    missed: tuple[str, ...] = ()

    def wrong(self) -> bool:
        """Whether something was missed that no busy machine excuses."""
        return bool(set(self.missed) - OF_SPEED)

    def cells(self) -> list[str]:
        """As the table shows it."""
        verdict = "yes" if not self.missed else f"**no**: {'; '.join(self.missed)}"
        return [self.test, self.passes, self.seen, verdict]


OF_SPEED = {
    *("goodput", "refusal time", "back", "p99", "noticed", "readyz"),
    *("in time", "stopped in time", "streams in time"),
}
"""Checks that a busy machine fails however right the program is."""


def misses(**checks: bool) -> tuple[str, ...]:
    """The names of the checks that do not hold, as words."""
    return tuple(name.replace("_", " ") for name, holds in checks.items() if not holds)


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies; 0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def line(cells: list[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


TITLES = ["test", "passes when", "seen", "passed"]
TABLE_HEAD = "\n".join([line(TITLES), line(["---"] * len(TITLES))])


def table(rows: list[Row]) -> str:
    """Markdown."""
    return "\n".join([TABLE_HEAD, *(line(row.cells()) for row in rows)])
