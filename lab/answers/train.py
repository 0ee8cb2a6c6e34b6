"""Trains the head of `tiffin.grounding.answerable`, and prints what it is worth.

    python -m lab.answers.train --out tiffin/grounding/answerable.json

Only the development articles and the development half of the everyday questions are trained on;
the thresholds are those of SQuAD's development articles, by heads that did not see the article. The
test parts are read to report.
"""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import (
    CACHE,
    EVERYDAY,
    MEMBER_SHA256,
    SEED,
    Part,
    everyday,
    nearest_cases,
    squad_cases,
)
from lab.answers.report import auc, lines
from lab.answers.scored import Scored, score
from lab.answers.scores import Scores
from tiffin.grounding.answerable import NAMES, Head

Floats = NDArray[np.float64]

RIDGE = 3.0
FOLDS = 8
RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2)


@dataclass(frozen=True)
class Table:
    """Features with labels; `groups` are articles, which never stand on both sides of a split."""

    rows: Floats
    answerable: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Table":
        return Table(self.rows[chosen], self.answerable[chosen], self.groups[chosen])


def table(scored: Sequence[Scored]) -> Table:
    """One row for each case."""
    named = [item.features() for item in scored]
    return Table(
        np.array([[row[name] for name in NAMES] for row in named]),
        np.array([bool(item.case.answers) for item in scored]),
        np.array([item.case.group for item in scored]),
    )


def fit(data: Table, thresholds: dict[str, float], metadata: dict[str, str]) -> Head:
    """Logistic regression with a ridge, by Newton's method; both answers weigh the same."""
    mean, scale = data.rows.mean(axis=0), np.maximum(data.rows.std(axis=0), 1e-6)
    x = np.hstack([(data.rows - mean) / scale, np.ones((len(data.rows), 1))])
    y = data.answerable.astype(np.float64)
    balance = np.where(data.answerable, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    ridge = np.diag([RIDGE] * len(mean) + [0.0])
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (balance * (p - y)) + ridge @ weights
        curvature = (x * (balance * p * (1 - p))[:, None]).T @ x + ridge
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-8:  # noqa: PLR2004
            break
    return Head(mean, scale, weights[:-1], float(weights[-1]), thresholds, metadata)


def held_out(data: Table) -> Floats:
    """The probability of each row by a head that saw nothing of its article."""
    names = np.unique(data.groups)
    folds = np.random.default_rng(SEED).integers(FOLDS, size=len(names))
    of_row = folds[np.searchsorted(names, data.groups)]
    said = np.zeros(len(data.rows))
    for fold in range(FOLDS):
        head = fit(data[of_row != fold], {}, {})
        said[of_row == fold] = head.probabilities(data.rows[of_row == fold])
    return said


def main() -> None:
    """Train, report, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scores", type=Path, default=CACHE / "scores.sqlite")
    parser.add_argument("--questions", type=int, default=150, help="of SQuAD, in each part")
    parser.add_argument("--nearest", type=int, default=50, help="of them, over what a search finds")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    scores = Scores(options.scores, threads=options.threads)
    parts: dict[Part, list[Scored]] = {}
    for part in ("development", "test"):
        cases = [
            *squad_cases(part, options.questions),
            *nearest_cases(part, scores.cosines, options.nearest),
            *everyday(part),
        ]
        parts[part] = [score(case, scores) for case in cases]
    trained_on = table(parts["development"])
    said = held_out(trained_on)
    public = np.array([item.case.kind == "answerable" for item in parts["development"]])
    thresholds = {f"{rate:g}": round(float(np.quantile(said[public], rate)), 6) for rate in RATES}
    digest = hashlib.sha256(MEMBER_SHA256.encode() + EVERYDAY.read_bytes()).hexdigest()
    metadata = {
        "data": "SQuAD (CC BY-SA 4.0) and everyday questions, development parts",
        "data_sha256": digest,
        "rows": str(len(trained_on.rows)),
        "seed": str(SEED),
        "auc_cross_validated": f"{auc(said, trained_on.answerable):.4f}",
    }
    head = fit(trained_on, thresholds, metadata)
    head.save(options.out)
    print(*lines(head, parts["test"]), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
