"""What a router is worth on labelled traffic: its cost-quality curve beside simpler ways to choose.

Called by `tiffin router eval`. A way to choose gives each query a score; the queries with the
highest scores go to the strong model, and the share that goes there is what varies. Intervals come
from drawing the groups of queries again and again: what two groups have in common is not counted
twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiffin.routing import rules
from tiffin.routing.complexity import ComplexityModel
from tiffin.routing.outcomes import By, Outcomes
from tiffin.routing.training import Difficulties

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.intp]

OF_STRONG = 0.95
"""The quality at which shares and costs are compared, as a share of the strong model's."""

SERVED = "rules, then complexity model"
DRAWS = 500
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Worth:
    """What one way to choose is worth.

    `area` is under the curve of the gap recovered (0: weak, 1: strong) over the share of strong
    calls: 0.5 for random mixing. `between` is its 95 % interval, `behind` that of how far it stays
    behind what is served. `cost` is relative to asking the strong model always. `half_gap` and
    `most_gap` are the shares of strong calls that recover 50 % and 80 % of the gap.
    """

    name: str
    area: float
    between: tuple[float, float]
    behind: tuple[float, float]
    strong_share: float
    cost: float
    half_gap: float
    most_gap: float


def evaluate(
    said: Difficulties, outcomes: Outcomes, *, weak_cost: float, by: By = "group"
) -> list[Worth]:
    """The model and what it must beat. `weak_cost` is that of a weak call / a strong one."""
    gain = (outcomes.strong - outcomes.weak).astype(np.float64)
    scores = _scores(said, outcomes, gain)
    drawn = _drawn(scores, gain, outcomes.numbers(by))
    weak = float(outcomes.weak.mean())
    return [
        _worth(name, _recovered(score, gain), drawn[name], drawn[SERVED], weak, gain, weak_cost)
        for name, score in scores.items()
    ]


def calibration(model: ComplexityModel, said: Difficulties, outcomes: Outcomes) -> float:
    """Expected calibration error of the probability that the weak model suffices, ten bins."""
    p = model.full.p_cheap(said.full)
    suffices = outcomes.weak >= outcomes.strong
    bins = np.array_split(np.argsort(p, kind="stable"), 10)
    return float(sum(abs(p[b].mean() - suffices[b].mean()) * len(b) for b in bins) / len(p))


def _scores(said: Difficulties, outcomes: Outcomes, gain: Doubles) -> dict[str, Doubles | None]:
    """By the name of the way; None is random mixing, of which the expectation is known."""
    demands = [rules.demand_of(query) for query in outcomes.queries]
    beyond = [rules.demand_of(query, judged=True) for query in outcomes.queries]
    ties = 1e-3 * np.random.default_rng(0).random(len(gain))
    numbers = outcomes.numbers("group")
    by_group = np.bincount(numbers, gain) / np.bincount(numbers)
    return {
        SERVED: np.array([demand is not None for demand in beyond]) + said.full.astype(np.float64),
        "complexity model": said.full.astype(np.float64),
        "complexity model, text only": said.text.astype(np.float64),
        "length": np.array([len(query) for query in outcomes.queries], np.float64),
        "keyword rules": np.array([demand is not None for demand in demands]) + ties,
        "random mixing": None,
        "oracle that knows each group's mean": by_group[numbers] + ties / 1e3,
        "oracle": gain,
    }


def _drawn(
    scores: Mapping[str, Doubles | None], gain: Doubles, numbers: Rows
) -> dict[str, Doubles]:
    """The areas in `DRAWS` draws of as many groups as there are, with replacement."""
    random = np.random.default_rng(0)
    order = np.argsort(numbers, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
    areas: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(DRAWS):
        picked = random.integers(0, len(members), len(members))
        rows = np.concatenate([members[number] for number in picked])
        for name, score in scores.items():
            own = None if score is None else score[rows]
            areas[name].append(_area(_recovered(own, gain[rows])))
    return {name: np.array(values) for name, values in areas.items()}


def _recovered(score: Doubles | None, gain: Doubles) -> Doubles:
    """The share of the gap with the k hardest queries at the strong model, for k from 0 to all."""
    if score is None:
        return np.linspace(0, 1, len(gain) + 1)
    order = np.argsort(-score, kind="stable")
    sums: Doubles = np.concatenate([[0.0], np.cumsum(gain[order])])
    return sums / (sums[-1] or 1.0)


def _area(recovered: Doubles) -> float:
    return float(np.trapezoid(recovered, dx=1 / (len(recovered) - 1)))


def _worth(  # noqa: PLR0917  all that a row shows
    name: str,
    recovered: Doubles,
    drawn: Doubles,
    served: Doubles,
    weak: float,
    gain: Doubles,
    weak_cost: float,
) -> Worth:
    quality = weak + recovered * gain.mean()
    share = _first_share(quality >= OF_STRONG * quality[-1])
    low, high = np.percentile(drawn, INTERVAL)
    nearest, farthest = np.percentile(served - drawn, INTERVAL)
    return Worth(
        name=name,
        area=_area(recovered),
        between=(float(low), float(high)),
        behind=(float(nearest), float(farthest)),
        strong_share=share,
        cost=share + (1 - share) * weak_cost,
        half_gap=_first_share(recovered >= 0.5),  # noqa: PLR2004
        most_gap=_first_share(recovered >= 0.8),  # noqa: PLR2004
    )


def _first_share(reached: NDArray[np.bool_]) -> float:
    return float(np.argmax(reached) / (len(reached) - 1))
