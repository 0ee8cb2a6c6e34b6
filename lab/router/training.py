"""Trains and calibrates the complexity model, for `lab/router/commands.py`.

The model learns the gain: how much better the strong model's answer is than the weak model's.
Whether the weak model is right is easier to predict, but a question that both get wrong is no
reason to pay for the strong one. The model is a kernel ridge regression on the text's features and
on the first principal axes of the embeddings (docs/decisions/0056 says what else was tried).

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


@dataclass(frozen=True)
class Difficulties:
    """The difficulty of each row as judged by the two heads: float32 (rows,)."""

    full: Floats
    text: Floats

    def take(self, rows: Rows) -> "Difficulties":
        """Those of some of the rows."""
        return Difficulties(self.full[rows], self.text[rows])


def text_matrix(queries: Sequence[str]) -> Floats:
    """The text features of all queries: float32 (rows, features)."""
    return np.array([list(text_features(query).values()) for query in queries], np.float32)


def train(
    outcomes: Outcomes, vectors: Floats, *, seed: int, settings: Fit = FIT
) -> ComplexityModel:
    """Fit both heads on all rows and calibrate them by cross-validation over groups."""
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
    full, plain = _heads(text, vectors, gain, settings, seed)
    return ComplexityModel(
        _calibrated(full, unseen.full, gain), _calibrated(plain, unseen.text, gain), metadata
    )


def calibrate(model: ComplexityModel, outcomes: Outcomes, vectors: Floats) -> ComplexityModel:
    """The same model with its probabilities fitted to other traffic."""
    gain = outcomes.strong - outcomes.weak
    judged = judge_all(model, outcomes, vectors)
    return ComplexityModel(
        _calibrated(model.full, judged.full, gain),
        _calibrated(model.text, judged.text, gain),
        {**model.metadata, "calibrated_on_sha256": outcomes.sha256},
    )


def save(model: ComplexityModel, path: Path) -> None:
    """Write the file that `ComplexityModel.load` reads."""
    tensors = {
        f"{name}.{part}": np.ascontiguousarray(tensor)
        for name, head in (("full", model.full), ("text", model.text))
        for part, tensor in (vars(head) | vars(head.kernel)).items()
        if part != "kernel"
    }
    save_file(tensors, path, metadata=dict(model.metadata))


def judge_all(model: ComplexityModel, outcomes: Outcomes, vectors: Floats) -> Difficulties:
    """How a model judges rows that it was not trained on."""
    text = text_matrix(outcomes.queries)
    return Difficulties(model.full.difficulty(text, vectors), model.text.difficulty(text, vectors))


def cross_validated(
    outcomes: Outcomes,
    vectors: Floats,
    *,
    seeds: Iterable[int],
    by: By = "group",
    settings: Fit = FIT,
) -> Iterator[Difficulties]:
    """How models that were trained without a row's group (or query) judge the row.

    Each seed gives one result, with folds and landmarks of its own.
    """
    text = text_matrix(outcomes.queries)
    gain = outcomes.strong - outcomes.weak
    for seed in seeds:
        said = Difficulties(*np.zeros((2, len(gain)), np.float32))
        for rows in outcomes.folds(seed, FOLDS, by):
            others = np.setdiff1d(np.arange(len(gain)), rows)
            full, plain = _heads(text[others], vectors[others], gain[others], settings, seed)
            said.full[rows] = full.difficulty(text[rows], vectors[rows])
            said.text[rows] = plain.difficulty(text[rows], vectors[rows])
        yield said


def _heads(
    text: Floats, vectors: Floats, gain: Floats, settings: Fit, seed: int
) -> tuple[Head, Head]:
    """Both heads, which are not calibrated yet."""
    none = np.empty((vectors.shape[1], 0), np.float32)
    centre = vectors.mean(axis=0)
    heads = []
    for axes in (_axes(vectors - centre), none):
        rows = inputs(text, vectors, centre, axes)
        kernel = fit(rows, (gain - gain.mean()).astype(np.float64), settings, seed)
        spread = np.maximum(kernel.value(rows).std(keepdims=True), np.float32(1e-6))
        heads.append(Head(centre, axes, kernel, spread, np.array([[0, 1], [1, 0]], np.float32)))
    return heads[0], heads[1]


def _axes(centred: Floats) -> Floats:
    """The directions in which the embeddings differ most: (dimensions, axes)."""
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(directions[:, ::-1][:, :AXES], np.float32)


def _calibrated(head: Head, difficulty: Floats, gain: Floats) -> Head:
    """The head with an isotonic curve of the share of queries for which the weak model suffices."""
    order = np.argsort(difficulty, kind="stable")
    bins = np.array_split(order, min(KNOTS, max(1, len(order) // 20)))
    suffices = (gain <= 0).astype(np.float64)
    x = np.array([difficulty[rows].mean() for rows in bins])
    y = _falling(np.array([suffices[rows].mean() for rows in bins]))
    return replace(head, curve=np.array([x, y], np.float32))


def _falling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest sequence that never rises; neighbours that rise are pooled."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) < np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] = pools[-1] + last
    return np.array([np.mean(pool) for pool in pools for _ in pool])
