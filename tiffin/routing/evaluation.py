"""What a router is worth on labelled traffic: its cost-quality curve beside simpler ways to choose.

Called by `tiffin router eval`. A way to choose gives each query a score; the queries with the
highest scores go to the strong model, and the share that goes there is what varies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiffin.routing import rules
from tiffin.routing.complexity import ComplexityModel
from tiffin.routing.outcomes import Outcomes
from tiffin.routing.training import text_matrix

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]

OF_STRONG = 0.95
"""The quality at which shares and costs are compared, as a share of the strong model's."""

RANDOM_ORDERS = 20


@dataclass(frozen=True)
class Worth:
    """What one way to choose is worth.

    `area` is under the curve of the gap recovered (0: weak, 1: strong) over the share of strong
    calls: 0.5 for random mixing. `cost` is relative to asking the strong model always.
    """

    name: str
    area: float
    strong_share: float
    cost: float
    curve: Floats

    def quality_at(self, share: float) -> float:
        """The mean score when that share goes to the strong model."""
        return float(self.curve[round(share * (len(self.curve) - 1))])


def evaluate(
    model: ComplexityModel, outcomes: Outcomes, vectors: Floats, rows: Rows, *, weak_cost: float
) -> list[Worth]:
    """The model and what it must beat, on those rows. `weak_cost` is relative to the strong's."""
    queries = [outcomes.queries[row] for row in rows]
    text = text_matrix(queries)
    weak, strong = outcomes.weak[rows], outcomes.strong[rows]
    noise = np.random.default_rng(0).random((RANDOM_ORDERS, len(rows)))
    keywords = np.array([rules.demand_of(query) is not None for query in queries], np.float32)
    difficulty = model.full.difficulty(np.hstack([vectors[rows], text]))
    ways = {
        "rules, then complexity model": keywords + difficulty,
        "complexity model": difficulty,
        "complexity model, text only": model.text.difficulty(text),
        "length": np.array([len(query) for query in queries], np.float32),
        "keyword rules": keywords + 1e-3 * noise[0],
    }
    curves = {name: _curve(scores, weak, strong) for name, scores in ways.items()}
    curves["random mixing"] = np.mean([_curve(n, weak, strong) for n in noise], axis=0)
    curves["oracle"] = _curve(strong - weak, weak, strong)
    return [_worth(name, curve, weak_cost) for name, curve in curves.items()]


def calibration(model: ComplexityModel, outcomes: Outcomes, vectors: Floats, rows: Rows) -> float:
    """Expected calibration error of the probability that the weak model suffices, ten bins."""
    text = text_matrix([outcomes.queries[row] for row in rows])
    p = model.full.p_cheap(model.full.difficulty(np.hstack([vectors[rows], text])))
    suffices = outcomes.weak[rows] >= outcomes.strong[rows]
    bins = np.array_split(np.argsort(p, kind="stable"), 10)
    return float(sum(abs(p[b].mean() - suffices[b].mean()) * len(b) for b in bins) / len(rows))


def _curve(scores: NDArray[np.floating], weak: Floats, strong: Floats) -> NDArray[np.floating]:
    """The mean quality with the k hardest queries at the strong model, for k from 0 to all."""
    order = np.argsort(-scores, kind="stable")
    gains = np.concatenate([[0.0], np.cumsum((strong - weak)[order])])
    quality: NDArray[np.floating] = (weak.sum() + gains) / len(weak)
    return quality


def _worth(name: str, curve: NDArray[np.floating], weak_cost: float) -> Worth:
    count = len(curve) - 1
    gap = curve[-1] - curve[0]
    recovered = (curve - curve[0]) / (gap or 1.0)
    share = float(np.argmax(curve >= OF_STRONG * curve[-1]) / count)
    return Worth(
        name=name,
        area=float(np.trapezoid(recovered, dx=1 / count)),
        strong_share=share,
        cost=share + (1 - share) * weak_cost,
        curve=curve.astype(np.float32),
    )
