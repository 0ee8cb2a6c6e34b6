"""Trains the head that weighs what the exact guards leave: `tiffin/grounding/alike.json`.

    python -m lab.cache.train

Beside it stands `models/engines/paired.json`: what the reranker's states of both questions are
worth, of the layers that its reading is of. It comes first, out of all pairs of the development
part and those of `for_training.jsonl`, because a pair that a guard refuses says as much about
wording as another. The head weighs it with what else is known, out of the pairs that the guards
leave: those are the only ones that it will see. Repeats are among them, or it would learn that what
is no copy is a paraphrase. Both learn from what the pairs were made as: to call a replaced word
another question, even if it asks the same, teaches to look at words. The thresholds go by what was
judged. All is of numbers out of folds by article, so that no pair was trained on.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import CACHE
from lab.answers.probe import Probe
from lab.answers.scores import Scores
from lab.cache.data import Pair, wordings
from lab.cache.measure import with_evidence
from lab.cache.scored import ScoredPair, pair_states, score
from lab.logistic import Floats, logistic
from models.engines.reading import PAIRED
from tiffin.cli.figures import at_most
from tiffin.grounding.alike import SHIPPED
from tiffin.grounding.same import compared

FOLDS, SEED = 8, 17
RIDGE, RIDGE_OF_STATES = 1.0, 50.0
"""By what the development part serves out of folds at ten traps, over four draws of the folds."""
BOUNDS = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
"""Of wrong hits, for which there are thresholds."""


class Rows(NamedTuple):
    """Pairs as numbers (pairs, columns), whether one answer fits, and which fold each is in."""

    values: Floats
    fits: NDArray[np.bool_]
    folds: NDArray[np.int64]


def to_read(pairs: Sequence[Pair]) -> list[Pair]:
    """These pairs, then those that are only for training, each once."""
    known = {(pair.asked, pair.again) for pair in pairs}
    more = {(pair.asked, pair.again): pair for pair in wordings("development")}
    return [*pairs, *(pair for texts, pair in more.items() if texts not in known)]


def folds_of(pairs: Sequence[Pair], seed: int = SEED) -> NDArray[np.int64]:
    """The fold of each pair. Those of one article are in the same one."""
    articles, own = np.unique([pair.group for pair in pairs], return_inverse=True)
    return np.random.default_rng(seed).permutation(len(articles))[own] % FOLDS


def features_of(items: Sequence[ScoredPair]) -> tuple[list[str], Floats]:
    """The names of the head's features but `paired`, and a row of them for each pair."""
    rows = []
    for item in items:
        kept = item.kept()
        assert kept is not None  # noqa: S101  it is left to the head
        named = compared(kept, item.new(), item.near())
        del named["paired"]
        rows.append(list(named.values()))
    return list(named), np.array(rows, np.float64)


def fit(rows: Floats, fits: NDArray[np.bool_], ridge: float) -> tuple[Floats, float]:
    """Weights for the columns as they are, and a bias."""
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    weights, bias = logistic((rows - mean) / scale, fits, np.full(rows.shape[1], ridge))
    own = weights / scale
    return own, float(bias - mean @ own)


def out_of_folds(rows: Rows, ridge: float) -> Floats:
    """The logit of each row by a regression that saw no row of its fold."""
    found = np.zeros(len(rows.values))
    for fold in range(FOLDS):
        held = rows.folds == fold
        weights, bias = fit(rows.values[~held], rows.fits[~held], ridge)
        found[held] = rows.values[held] @ weights + bias
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


def digest(pairs: Sequence[Pair]) -> str:
    """The SHA-256 of the texts of all pairs, in order, and of whether one answer fits both."""
    texts = [(pair.asked, pair.again, pair.fits) for pair in pairs]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


class Prepared(NamedTuple):
    """All pairs of the development part, which of them are left to the head, and what it reads.

    `right` is what was judged of those, where `head` has what they were made as. `read` are the
    reranker's states of all pairs that say something about wording, in order.
    """

    scored: list[ScoredPair]
    left: list[int]
    names: list[str]
    head: Rows
    right: NDArray[np.bool_]
    read: Rows
    metadata: dict[str, str]

    def traps(self) -> int:
        """How many pairs one answer does not fit, those that a guard refuses among them."""
        return sum(not item.pair.fits for item in self.scored)


def prepare(scores: Scores, seed: int = SEED) -> Prepared:
    """Of each pair that is left to the head, `paired` is of a regression that saw none like it."""
    scored = [score(pair, scores) for pair in with_evidence("development")]
    pairs = to_read(with_evidence("development", as_made=True))
    states = np.array([pair_states(pair, scores) for pair in pairs], np.float64)
    read = Rows(states, np.array([pair.fits for pair in pairs]), folds_of(pairs, seed))
    left = [at for at, item in enumerate(scored) if item.left()]
    names, features = features_of([scored[at] for at in left])
    paired = out_of_folds(read, RIDGE_OF_STATES)[left]
    head = Rows(np.column_stack([paired, features]), read.fits[left], read.folds[left])
    right = np.array([scored[at].pair.fits for at in left])
    text = f"{len(pairs)} pairs of SQuAD's development part, {len(left)} for the head, lab.cache"
    metadata = {"trained on": text, "sha256": digest(pairs)}
    return Prepared(scored, left, ["paired", *names], head, right, read, metadata)


def write_head(prepared: Prepared, path: Path) -> None:
    """Fit the head to all pairs, write it, and print what it would do out of folds."""
    names, head = prepared.names, prepared.head
    probabilities = 1 / (1 + np.exp(-out_of_folds(head, RIDGE)))
    limits = thresholds(probabilities[~prepared.right], prepared.traps())
    weights, bias = fit(head.values, head.fits, RIDGE)
    content = {
        "weights": {
            name: round(float(weight), 4) for name, weight in zip(names, weights, strict=True)
        },
        "bias": round(bias, 4),
        "thresholds": limits,
        "metadata": prepared.metadata,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    left = [prepared.scored[at].pair for at in prepared.left]
    report(left, prepared.scored, probabilities, limits)


def main() -> None:
    """Write the weights of the states, and the head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, default=CACHE / "cache-scores.sqlite")
    scores = Scores(parser.parse_args().scores, threads=2)
    prepared = prepare(scores)
    read = prepared.read
    probe = Probe(*fit(read.values, read.fits, RIDGE_OF_STATES))
    probe.save(scores.reranker, prepared.metadata, PAIRED)
    write_head(prepared, SHIPPED)


def report(
    left: Sequence[Pair], scored: Sequence[ScoredPair], sure: Floats, limits: dict[str, float]
) -> None:
    """Print how many traps and paraphrases are served at each bound."""
    kinds = np.array([pair.kind.split()[-1] if pair.fits else "trap" for pair in left])
    traps = sum(not item.pair.fits for item in scored)
    of = sum(item.pair.kind.endswith("paraphrase") for item in scored)
    for bound, limit in limits.items():
        wrong, hits = (int((sure[kinds == kind] >= limit).sum()) for kind in ("trap", "paraphrase"))
        print(f"at most {bound}: {wrong} of {traps} traps, {hits} of {of} paraphrases")  # noqa: T201


if __name__ == "__main__":
    main()
