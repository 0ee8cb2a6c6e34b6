"""Trains the head of `tiffin.grounding.answerable`, and prints what it is worth.

    python -m lab.answers.train

Writes the reading of the reranker, the head, and a head for rerankers without a reading. Only the
development parts are trained on: articles of SQuAD, everyday questions, and the texts of the
reworded ones. The thresholds are by heads and readings that did not see the article or text. The
test parts are read to report.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import (
    CACHE,
    EVERYDAY,
    MEMBER_SHA256,
    REWORDED,
    SEED,
    Case,
    Part,
    everyday,
    nearest_cases,
    reworded,
    squad_cases,
)
from lab.answers.probe import NOTHING, fit_probe
from lab.answers.report import auc, lines
from lab.answers.scored import Found, Scored, find, judge
from lab.answers.scores import Scores
from lab.logistic import Floats, logistic
from tiffin.grounding.answerable import NAMES, SHIPPED, WITHOUT_READINGS, Head

RIDGE = 3.0
TIMES_SQUAD = 3
"""Less, and the head tells SQuAD's development questions apart worse than one without readings."""

FOLDS = 8
RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2)
DATA = "development parts of SQuAD (CC BY-SA 4.0), everyday"
OF_SQUAD = frozenset({"sample", "nearest"})


@dataclass(frozen=True)
class Table:
    """Features with labels; `groups` are articles, which never stand on both sides of a split.

    A row counts as often as `times` says.
    """

    rows: Floats
    answerable: NDArray[np.bool_]
    groups: NDArray[np.str_]
    times: NDArray[np.int64]

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Table":
        return Table(
            self.rows[chosen], self.answerable[chosen], self.groups[chosen], self.times[chosen]
        )


def table(scored: Sequence[Scored], times_squad: int) -> Table:
    """One row for each case; SQuAD's count several times."""
    named = [item.features() for item in scored]
    return Table(
        np.array([[row[name] for name in NAMES] for row in named]),
        np.array([bool(item.case.answers) for item in scored]),
        np.array([item.case.group for item in scored]),
        np.array([times_squad if item.case.over in OF_SQUAD else 1 for item in scored]),
    )


def fit(data: Table, thresholds: dict[str, float], metadata: dict[str, str]) -> Head:
    """Logistic regression with a ridge."""
    rows = np.repeat(data.rows, data.times, axis=0)
    answerable = np.repeat(data.answerable, data.times)
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    ridge = np.full(len(mean), RIDGE)
    weights, bias = logistic((rows - mean) / scale, answerable, ridge)
    return Head(mean, scale, weights, bias, thresholds, metadata)


def folds(groups: NDArray[np.str_]) -> NDArray[np.int64]:
    """The fold of each row; a group is in one."""
    names = np.unique(groups)
    drawn = np.random.default_rng(SEED).integers(FOLDS, size=len(names))
    return drawn[np.searchsorted(names, groups)]


def held_out(data: Table) -> Floats:
    """The probability of each row by a head that saw nothing of its article."""
    of_row = folds(data.groups)
    said = np.zeros(len(data.rows))
    for fold in range(FOLDS):
        head = fit(data[of_row != fold], {}, {})
        said[of_row == fold] = head.probabilities(data.rows[of_row == fold])
    return said


def read_by_others(found: Sequence[Found], scores: Scores) -> list[Scored]:
    """Each case with the reading of a probe that saw nothing of its article."""
    of_row = folds(np.array([item.case.group for item in found]))
    pairs = [item.pairs(scores) for item in found]
    probes = [
        fit_probe([pair for pair, of in zip(pairs, of_row, strict=True) if of != fold])
        for fold in range(FOLDS)
    ]
    return [judge(item, scores, probes[of]) for item, of in zip(found, of_row, strict=True)]


def thresholds_of(said: Floats, public: NDArray[np.bool_], share: float = 0.5) -> dict[str, float]:
    """The probability below which each of `RATES` lies, of those of answerable questions.

    SQuAD's, which are public, have that share of the weight together, and our own the rest.
    """
    weights = np.where(public, share / public.sum(), (1 - share) / (~public).sum())
    order = np.argsort(said)
    below, ordered = np.cumsum(weights[order]), said[order]
    return {f"{rate:g}": round(float(np.interp(rate, below, ordered)), 6) for rate in RATES}


def trained(scored: Sequence[Scored], metadata: Mapping[str, str], *, reads: bool) -> Head:
    """The head of these cases.

    Without readings a question in other words cannot be told from one without an answer, so that
    the reworded ones are left out, and its thresholds are SQuAD's. With readings SQuAD and our own
    questions weigh the same in them.
    """
    if not reads:
        scored = [item for item in scored if item.case.over != "reworded"]
    data = table(scored, TIMES_SQUAD if reads else 1)
    said = held_out(data)
    public = np.array([item.case.over in OF_SQUAD for item in scored])
    thresholds = thresholds_of(
        said[data.answerable], public[data.answerable], share=0.5 if reads else 1.0
    )
    named = {
        "data": DATA + (" and reworded questions" if reads else " questions"),
        "rows": str(len(data.rows)),
        "auc_cross_validated": f"{auc(said, data.answerable):.4f}",
        "auc_of_own": f"{auc(said[~public], data.answerable[~public]):.4f}",
        "auc_of_squad": f"{auc(said[public], data.answerable[public]):.4f}",
    }
    return fit(data, thresholds, {**metadata, **named})


def cases(part: Part, scores: Scores, questions: int, nearest: int) -> list[Case]:
    """All questions of a part."""
    return [
        *squad_cases(part, questions),
        *nearest_cases(part, scores.cosines, nearest),
        *everyday(part),
        *reworded(part),
    ]


def main() -> None:
    """Train, report, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, default=CACHE / "scores.sqlite")
    parser.add_argument("--questions", type=int, default=150, help="of SQuAD, in each part")
    parser.add_argument("--nearest", type=int, default=50, help="of them, over what a search finds")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    scores = Scores(options.scores, threads=options.threads)
    found: dict[Part, list[Found]] = {
        part: [
            find(case, scores) for case in cases(part, scores, options.questions, options.nearest)
        ]
        for part in ("development", "test")
    }
    files = (EVERYDAY, REWORDED)
    digest = hashlib.sha256(MEMBER_SHA256.encode() + b"".join(f.read_bytes() for f in files))
    metadata = {
        "data_sha256": digest.hexdigest(),
        "seed": str(SEED),
    }
    probe = fit_probe([item.pairs(scores) for item in found["development"]])
    probe.save(scores.reranker, {"data": DATA + " and reworded questions", **metadata})
    heads = (
        (SHIPPED, probe, read_by_others(found["development"], scores)),
        (WITHOUT_READINGS, NOTHING, [judge(i, scores, NOTHING) for i in found["development"]]),
    )
    for path, with_probe, scored in heads:
        head = trained(scored, metadata, reads=path == SHIPPED)
        head.save(path)
        print(f"--- {path.name}: {head.metadata}")  # noqa: T201
        print(*lines(head, [judge(i, scores, with_probe) for i in found["test"]]), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
