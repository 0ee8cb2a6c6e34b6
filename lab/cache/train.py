"""Trains the head that weighs what the exact guards leave: `tiffin/grounding/alike.json`.

    python -m lab.cache.train

Beside it stands `models/engines/paired.json`: what the reranker's states of both questions are
worth, of the layers that its reading is of. Both are one logistic regression. On the development
part only. A pair is in it if no exact guard refuses it: those are the only ones that the head will
see. Repeats are in it, or the head would learn that what is no copy is a paraphrase. Thresholds are
of probabilities out of folds by article, so that none was trained on.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import CACHE
from lab.answers.probe import Probe
from lab.answers.scores import Scores
from lab.cache.measure import with_evidence
from lab.cache.scored import ScoredPair, pair_states, score
from lab.logistic import Floats, logistic
from models.engines.reading import PAIRED
from tiffin.cli.figures import at_most
from tiffin.grounding.alike import SHIPPED
from tiffin.grounding.same import LEAST_COSINE, compared, exact_differences

FOLDS = 8
RIDGE, RIDGE_OF_STATES = 0.1, 200.0
BOUNDS = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
"""Of wrong hits, for which there are thresholds."""


def left_to_the_head(item: ScoredPair) -> bool:
    """Whether no exact guard tells the questions apart."""
    kept = item.kept()
    if kept is None or item.cosine < LEAST_COSINE:
        return False
    return not exact_differences(kept, item.new())


def rows_of(items: Sequence[ScoredPair], scores: Scores) -> tuple[list[str], Floats]:
    """The names of the features but `paired`, and a row of them and of the states for each pair."""
    rows = []
    for item in items:
        kept = item.kept()
        assert kept is not None  # noqa: S101  left_to_the_head
        named = compared(kept, item.new(), item.near())
        del named["paired"]
        rows.append([*named.values(), *pair_states(item.pair, scores)])
    return list(named), np.array(rows, np.float64)


def fit(rows: Floats, fits: NDArray[np.bool_], features: int) -> tuple[Floats, float]:
    """Weights for the features and states as they are, and a bias."""
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    ridge = np.full(rows.shape[1], RIDGE_OF_STATES)
    ridge[:features] = RIDGE
    weights, bias = logistic((rows - mean) / scale, fits, ridge)
    own = weights / scale
    return own, float(bias - mean @ own)


def out_of_folds(items: Sequence[ScoredPair], rows: Floats, features: int) -> Floats:
    """The probability of each pair by a head that saw no pair of its article."""
    groups = np.array([item.pair.group for item in items])
    fits = np.array([item.pair.fits for item in items])
    articles = np.unique(groups)
    np.random.default_rng(17).shuffle(articles)
    found = np.zeros(len(rows))
    for fold in range(FOLDS):
        held = np.isin(groups, articles[fold::FOLDS])
        weights, bias = fit(rows[~held], fits[~held], features)
        found[held] = 1 / (1 + np.exp(-(rows[held] @ weights + bias)))
    return found


def thresholds(wrong: Floats, traps: int) -> dict[str, float]:
    """For each bound the least probability at which so few of `traps` are served.

    `wrong` are the probabilities of those traps that the exact guards leave.
    """
    ordered = [*np.sort(wrong)[::-1], 0.0]
    found = {}
    for bound in BOUNDS:
        most = max(n for n in range(len(ordered)) if at_most(n, traps) <= bound)
        found[f"{bound:g}"] = round(float(ordered[most]) + 1e-4, 4)
    return found


def main() -> None:
    """Write the head, and print what it would do out of folds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, default=CACHE / "cache-scores.sqlite")
    scores = Scores(parser.parse_args().scores, threads=2)
    scored = [score(pair, scores) for pair in with_evidence("development")]
    items = [item for item in scored if left_to_the_head(item)]
    names, rows = rows_of(items, scores)
    fits = np.array([item.pair.fits for item in items])
    probabilities = out_of_folds(items, rows, len(names))
    traps = sum(not item.pair.fits for item in scored)
    limits = thresholds(probabilities[~fits], traps)
    weights, bias = fit(rows, fits, len(names))
    named = zip(names, weights[: len(names)], strict=True)
    trained = {"trained on": f"{len(items)} pairs of SQuAD's development part, lab.cache"}
    Probe(weights[len(names) :], 0.0).save(scores.reranker, trained, PAIRED)
    content = {
        "weights": {"paired": 1.0} | {name: round(float(weight), 4) for name, weight in named},
        "bias": round(bias, 4),
        "thresholds": limits,
        "metadata": trained,
    }
    SHIPPED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    paraphrases = [item.pair.kind.endswith("paraphrase") for item in items]
    of = sum(item.pair.kind.endswith("paraphrase") for item in scored)
    for bound, limit in limits.items():
        served, wrong = probabilities >= limit, int((probabilities[~fits] >= limit).sum())
        hits = int(served[paraphrases].sum())
        print(f"at most {bound}: {wrong} of {traps} traps, {hits} of {of} paraphrases")  # noqa: T201


if __name__ == "__main__":
    main()
