"""What a router is worth on labelled traffic: its cost-quality curve and that of simpler ways.

Called by `tiffin router eval`. A way to choose gives each query a score. The queries with the
highest scores go to the strong model, and the share that goes there varies along the curve. A
learned way has scores from each repeat of the cross-validation, and its figures are the mean of the
repeats. Intervals come from resampling the groups of queries, because the queries of one group are
not independent (docs/decisions/0055).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.router.outcomes import By, Outcomes
from lab.router.training import Difficulties
from tiffin.routing import rules

Doubles = NDArray[np.float64]
Rows = NDArray[np.intp]
Interval = tuple[float, float]

OF_STRONG = 0.95
"""The quality at which shares and costs are compared, as a share of the strong model's."""

SERVED = "rules, then model or length"
DRAWS = 1000
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Worth:
    """What one way to choose is worth.

    `area` is the area under the curve of the recovered gap (0: weak, 1: strong) over the share of
    strong calls; random mixing has 0.5. `between` is its 95 % interval, `behind` is the interval of
    how far it is behind what is served. `strong_share` is the share of strong calls that reaches
    `OF_STRONG`, `more_calls` is the interval of how many more these are than what is served needs,
    and `cost` is their cost relative to always asking the strong model. `half_gap` and `most_gap`
    are the shares of strong calls that recover 50 % and 80 % of the gap.
    """

    name: str
    area: float
    between: Interval
    behind: Interval
    strong_share: float
    more_calls: Interval
    cost: float
    half_gap: float
    most_gap: float


@dataclass(frozen=True)
class _Figures:
    """The figures of one way to choose: one for all queries, or one for each draw."""

    area: Doubles
    strong_share: Doubles
    half_gap: Doubles
    most_gap: Doubles


@dataclass(frozen=True)
class _Ranking:
    """The queries' gains and groups in the order in which they go to the strong model.

    `ends` are the last ones of each run of equal scores; the order within a run is left to chance.
    """

    gain: Doubles
    groups: Rows
    ends: Rows

    @classmethod
    def of(cls, score: Doubles, gain: Doubles, groups: Rows) -> "_Ranking":
        order = np.argsort(-score, kind="stable")
        ends = np.flatnonzero(np.diff(score[order], append=-np.inf))
        return cls(gain[order], groups[order], ends)

    def figures(self, times: Rows, missing: float) -> tuple[float, float, float, float]:
        """The fields of `_Figures`, with each group counted as often as `times` says.

        `missing` is the sum of what the weak model's answers lack to reach `OF_STRONG`.
        """
        count = times[self.groups]
        calls = np.concatenate([[0.0], count.cumsum()[self.ends]])
        gained = np.concatenate([[0.0], (count * self.gain).cumsum()[self.ends]])
        share, gap = calls / calls[-1], gained[-1]
        area = float(np.trapezoid(gained, share)) / (gap or 1.0)
        strong_share, half_gap, most_gap = (
            _first_share(share, gained, need) for need in (missing, 0.5 * gap, 0.8 * gap)
        )
        return area, strong_share, half_gap, most_gap


def evaluate(
    repeats: Sequence[Difficulties],
    outcomes: Outcomes,
    *,
    weak_cost: float,
    by: By = "group",
    others: Mapping[str, Doubles] | None = None,
) -> list[Worth]:
    """The model and what it must beat. `weak_cost` is the cost of a weak call / a strong call.

    `others` are the scores (rows,) of more ways to choose.
    """
    gain = (outcomes.strong - outcomes.weak).astype(np.float64)
    groups = outcomes.numbers(by)
    missing = np.bincount(groups, OF_STRONG * outcomes.strong - outcomes.weak).astype(np.float64)
    random = np.random.default_rng(0)
    count = len(missing)
    draws = [np.bincount(random.integers(0, count, count), minlength=count) for _ in range(DRAWS)]
    whole, drawn = {}, {}
    ways = {name: [score] for name, score in (others or {}).items()}
    for name, scores in {**_scores(repeats, outcomes, gain), **ways}.items():
        rankings = [_Ranking.of(score, gain, groups) for score in scores]
        whole[name] = _mean_figures(rankings, [np.ones(count, np.intp)], missing)
        drawn[name] = _mean_figures(rankings, draws, missing)
    return [_worth(name, whole[name], drawn[name], drawn[SERVED], weak_cost) for name in whole]


def calibration(repeats: Sequence[Difficulties], outcomes: Outcomes) -> float:
    """Expected calibration error of the probability that the weak model suffices, in ten bins."""
    suffices = outcomes.weak >= outcomes.strong
    errors = []
    for said in repeats:
        bins = np.array_split(np.argsort(said.p_cheap, kind="stable"), 10)
        errors += [abs(said.p_cheap[b].mean() - suffices[b].mean()) * len(b) for b in bins]
    return float(sum(errors) / len(suffices) / len(repeats))


def _scores(
    repeats: Sequence[Difficulties], outcomes: Outcomes, gain: Doubles
) -> Mapping[str, Sequence[Doubles]]:
    """The scores of each way to choose, by its name; a learned way has some from each repeat."""
    demands = [rules.demand_of(query) for query in outcomes.queries]
    beyond = [rules.demand_of(query, judged=True) for query in outcomes.queries]
    by_rule = np.array([demand is not None for demand in beyond], np.float64)
    numbers = outcomes.numbers("group")
    by_group = np.bincount(numbers, gain) / np.bincount(numbers)
    return {
        SERVED: [by_rule - said.p_cheap for said in repeats],
        "complexity model alone": [said.full.astype(np.float64) for said in repeats],
        "length": [np.array([len(query) for query in outcomes.queries], np.float64)],
        "keyword rules": [np.array([demand is not None for demand in demands], np.float64)],
        "random mixing": [np.zeros(len(gain))],
        "oracle that knows each group's mean": [by_group[numbers]],
        "oracle": [gain],
    }


def _mean_figures(
    rankings: Sequence[_Ranking], draws: Sequence[Rows], missing: Doubles
) -> _Figures:
    """The mean over the rankings for each draw."""
    figures = [
        [ranking.figures(times, float(times @ missing)) for times in draws] for ranking in rankings
    ]
    return _Figures(*np.mean(figures, axis=0).T)


def _first_share(share: Doubles, gained: Doubles, need: float) -> float:
    """The smallest share of strong calls that gains what is needed."""
    first = int(np.argmax(gained >= need))
    if first == 0:
        return 0.0
    return float(np.interp(need, gained[first - 1 : first + 1], share[first - 1 : first + 1]))


def _worth(
    name: str, whole: _Figures, drawn: _Figures, served: _Figures, weak_cost: float
) -> Worth:
    share = float(whole.strong_share[0])
    return Worth(
        name=name,
        area=float(whole.area[0]),
        between=_interval(drawn.area),
        behind=_interval(served.area - drawn.area),
        strong_share=share,
        more_calls=_interval(drawn.strong_share - served.strong_share),
        cost=share + (1 - share) * weak_cost,
        half_gap=float(whole.half_gap[0]),
        most_gap=float(whole.most_gap[0]),
    )


def _interval(drawn: Doubles) -> Interval:
    low, high = np.percentile(drawn, PERCENTILES)
    return float(low), float(high)
