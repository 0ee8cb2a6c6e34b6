"""Figures with 95 % intervals, for the commands of `tiffin eval` and the reports of lab/.

Questions about one article are not independent, so an interval is a bootstrap over groups.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
SEED = 17
Z = 1.96
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A value, the middle 95 % of it over the draws, and how many rows it is of."""

    value: float
    low: float
    high: float
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "none"
        digits = 0 if self.value >= 100 else 3  # noqa: PLR2004  milliseconds
        low, value, high = (
            f"{part:,.{digits}f}".removeprefix("0") or "0"
            for part in (self.low, self.value, self.high)
        )
        return f"{value} [{low}, {high}]"


def figure(
    values: Sequence[float],
    groups: Sequence[str],
    of: Callable[[Floats], float] = lambda drawn: float(np.mean(drawn)),
) -> Figure:
    """The mean (or another figure) of one value a row; rows of one group are drawn together."""
    if not values:
        return Figure(float("nan"), float("nan"), float("nan"), 0)
    numbers = np.asarray(values, np.float64)
    low, high = interval(groups, lambda rows: of(numbers[rows]))
    return Figure(of(numbers), low, high, len(values))


def figures_as_json(columns: Mapping[str, Mapping[str, Figure]]) -> dict[str, Any]:
    """Figures by column and name. One of no rows is null: JSON has no NaN."""
    return {
        column: {name: asdict(one) if one.of else None for name, one in figures.items()}
        for column, figures in columns.items()
    }


def wilson(hits: NDArray[np.bool_]) -> Figure:
    """The share of independent rows that are hits, with the interval of Wilson (1927)."""
    if not len(hits):
        return Figure(float("nan"), float("nan"), float("nan"), 0)
    n, p = len(hits), float(np.mean(hits))
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * float(np.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)))
    return Figure(p, max(0.0, middle - half), min(1.0, middle + half), n)


def at_most(hits: int, of: int) -> float:
    """The upper end of the 95 % interval of a share (Clopper and Pearson 1934), one-sided."""
    low, high = hits / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_up_to(hits, of, middle) > 0.05:  # noqa: PLR2004
            low = middle
        else:
            high = middle
    return high


def _binomial_up_to(hits: int, of: int, share: float) -> float:
    """The probability of at most so many hits."""
    if share >= 1:
        return float(hits >= of)
    ks = np.arange(hits + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((of - ks[:-1]) / (ks[:-1] + 1)))])
    return float(np.exp(logs + ks * np.log(share) + (of - ks) * np.log1p(-share)).sum())


def interval(groups: Sequence[str], of: Callable[[NDArray[np.intp]], float]) -> tuple[float, float]:
    """The middle 95 % of a figure of rows, which `of` is given by their numbers.

    A draw in which the figure does not exist (NaN) is left out.
    """
    names, of_row = np.unique(np.asarray(groups), return_inverse=True)
    rows = [np.flatnonzero(of_row == number) for number in range(len(names))]
    random = np.random.default_rng(SEED)
    draws = [
        of(np.concatenate([rows[i] for i in random.integers(len(rows), size=len(rows))]))
        for _ in range(DRAWS)
    ]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)
