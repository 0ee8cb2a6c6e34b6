"""Trains and calibrates the complexity model, for `lab/router/commands.py`.

The model learns the gain: how much better the strong model's answer is than the weak model's.
Whether the weak model is right is easier to predict, but a question that both get wrong is no
reason to pay for the strong one. The model is a kernel ridge regression on the text's features and
on the first principal axes of the embeddings (docs/decisions/0056 says what else was tried).
Questions of exams are learned from twice, with their choices and without.

All rows train the model. Its probabilities and all figures come from cross-validation: a row is
judged by models that have not seen its group.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lab.router.outcomes import By, Outcomes
from lab.router.ridge import Fit, fit
from tiffin.routing.complexity import ComplexityModel, Head, inputs
from tiffin.routing.features import text_features

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]

AXES = 20
FOLDS = 10
REPEATS = 10
"""Repeats of the cross-validation that figures come from, each with other folds."""

KNOTS = 12
FIT = Fit()
LENGTH = list(text_features("")).index("log_chars")


CENTRES = 64
ROUNDS = 12
"""Centres of the embeddings, and rounds of k-means."""

LEAST = 0.4
"""The cosine with the nearest centre from which on the model is asked.

`lab.router.domains` chose it on development subjects."""


@dataclass(frozen=True)
class Difficulties:
    """What was said of each row: float32 (rows,).

    `full` is the model's difficulty, `near` how near the row is to what the model learned from,
    and `p_cheap` the probability that is served: the model's, or that of the length.
    """

    full: Floats
    near: Floats
    p_cheap: Floats

    def take(self, rows: Rows) -> "Difficulties":
        """Those of some of the rows."""
        return Difficulties(self.full[rows], self.near[rows], self.p_cheap[rows])


def text_matrix(queries: Sequence[str]) -> Floats:
    """The text features of all queries: float32 (rows, features)."""
    return np.array([list(text_features(query).values()) for query in queries], np.float32)


def train(
    outcomes: Outcomes, vectors: Floats, *, seed: int, settings: Fit = FIT
) -> ComplexityModel:
    """Fit the model on all rows and calibrate it by cross-validation over groups."""
    text = text_matrix(outcomes.queries)
    gain = outcomes.strong - outcomes.weak
    (unseen,) = cross_validated(outcomes, vectors, seeds=[seed], settings=settings)
    metadata = {
        "features": json.dumps(list(text_features(""))),
        "seed": str(seed),
        "data_sha256": outcomes.sha256,
        "rows": f"{len(gain)} trained, calibrated by {FOLDS}-fold cross-validation over groups",
        "learned": "kernel ridge regression on strong - weak",
    }
    head = _head(text, vectors, gain, settings, seed)
    return ComplexityModel(
        replace(head, curve=_curve(unseen.full, gain)),
        centres_of(vectors, seed),
        np.array([LEAST], np.float32),
        _curve(text[:, LENGTH], gain),
        metadata,
    )


def calibrate(model: ComplexityModel, outcomes: Outcomes, vectors: Floats) -> ComplexityModel:
    """The same model with its probabilities fitted to other traffic."""
    gain = outcomes.strong - outcomes.weak
    judged = judge_all(model, outcomes, vectors)
    return replace(
        model,
        head=replace(model.head, curve=_curve(judged.full, gain)),
        length=_curve(text_matrix(outcomes.queries)[:, LENGTH], gain),
        metadata={**model.metadata, "calibrated_on_sha256": outcomes.sha256},
    )


def save(model: ComplexityModel, path: Path) -> None:
    """Write the file that `ComplexityModel.load` reads."""
    head, kernel = dict(vars(model.head)), vars(model.head.kernel)
    del head["kernel"]
    judged = {"centres": model.centres, "least": model.least, "length": model.length}
    tensors = {
        name: np.ascontiguousarray(tensor) for name, tensor in (head | kernel | judged).items()
    }
    save_file(tensors, path, metadata=dict(model.metadata))


def judge_all(model: ComplexityModel, outcomes: Outcomes, vectors: Floats) -> Difficulties:
    """How a model judges rows that it was not trained on."""
    text = text_matrix(outcomes.queries)
    full, near = model.head.difficulty(text, vectors), model.nearness(vectors)
    by_length = np.interp(text[:, LENGTH], *model.length)
    served = np.where(near >= model.least, model.head.p_cheap(full), by_length)
    return Difficulties(full, near, served.astype(np.float32))


def cross_validated(
    outcomes: Outcomes,
    vectors: Floats,
    *,
    seeds: Iterable[int],
    by: By = "group",
    settings: Fit = FIT,
) -> Iterator[Difficulties]:
    """How models that were trained without a row's group (or query) judge the row.

    Each seed gives one result, with folds, landmarks and centres of its own.
    """
    for seed in seeds:
        yield held_out(outcomes, vectors, outcomes.folds(seed, FOLDS, by), seed, settings)


def held_out(
    outcomes: Outcomes, vectors: Floats, folds: Iterable[Rows], seed: int, settings: Fit = FIT
) -> Difficulties:
    """How models that were trained without a fold judge the fold's rows."""
    text = text_matrix(outcomes.queries)
    gain = outcomes.strong - outcomes.weak
    full, near = np.zeros((2, len(gain)), np.float32)
    for rows in folds:
        others = np.setdiff1d(np.arange(len(gain)), rows)
        head = _head(text[others], vectors[others], gain[others], settings, seed)
        full[rows] = head.difficulty(text[rows], vectors[rows])
        near[rows] = (vectors[rows] @ centres_of(vectors[others], seed).T).max(axis=1)
    return Difficulties(full, near, served(full, near, text, gain))


def served(full: Floats, near: Floats, text: Floats, gain: Floats, least: float = LEAST) -> Floats:
    """The probabilities of the model where it may judge, and of the length elsewhere."""
    by_model = np.interp(full, *_curve(full, gain))
    by_length = np.interp(text[:, LENGTH], *_curve(text[:, LENGTH], gain))
    return np.where(near >= least, by_model, by_length).astype(np.float32)


def centres_of(vectors: Floats, seed: int) -> Floats:
    """Spherical k-means of normalised rows: float32 (centres, dimensions)."""
    drawn = np.random.default_rng(seed).choice(len(vectors), min(CENTRES, len(vectors)), False)  # noqa: FBT003
    centres = vectors[drawn]
    for _ in range(ROUNDS):
        nearest = (vectors @ centres.T).argmax(axis=1)
        sums = (nearest[None, :] == np.arange(len(centres))[:, None]).astype(np.float32) @ vectors
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centres)
    return np.ascontiguousarray(centres, np.float32)


def _head(text: Floats, vectors: Floats, gain: Floats, settings: Fit, seed: int) -> Head:
    """The head, which is not calibrated yet."""
    centre = vectors.mean(axis=0)
    axes = _axes(vectors - centre)
    rows = inputs(text, vectors, centre, axes)
    kernel = fit(rows, (gain - gain.mean()).astype(np.float64), settings, seed)
    spread = np.maximum(kernel.value(rows).std(keepdims=True), np.float32(1e-6))
    return Head(centre, axes, kernel, spread, np.array([[0, 1], [1, 0]], np.float32))


def _axes(centred: Floats) -> Floats:
    """The directions in which the embeddings differ most: (dimensions, axes)."""
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(directions[:, ::-1][:, :AXES], np.float32)


def _curve(difficulty: Floats, gain: Floats) -> Floats:
    """An isotonic curve of the share of queries for which the weak model suffices: (2, knots)."""
    order = np.argsort(difficulty, kind="stable")
    bins = np.array_split(order, min(KNOTS, max(1, len(order) // 20)))
    suffices = (gain <= 0).astype(np.float64)
    x = np.array([difficulty[rows].mean() for rows in bins])
    y = _falling(np.array([suffices[rows].mean() for rows in bins]))
    return np.array([x, y], np.float32)


def _falling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest sequence that never rises; neighbours that rise are pooled."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) < np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] = pools[-1] + last
    return np.array([np.mean(pool) for pool in pools for _ in pool])
