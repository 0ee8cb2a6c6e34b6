"""Trains and calibrates the complexity model. Called by `tiffin router train` and `calibrate`.

What is learned is the gain: by how much the strong model's answer is better than the weak one's.
Whether the weak model is right is easier to predict, but a question that both get wrong is no
reason to pay for the strong one. Ridge regression in closed form: on the 57 subjects of MMLU a
logistic regression, a small network and nearest neighbours did no better on unseen subjects, so the
simplest stands (docs/decisions/0050).
"""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiffin.routing.complexity import ComplexityModel, Head
from tiffin.routing.features import text_features
from tiffin.routing.outcomes import Outcomes

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]

FULL_PENALTY = 1e5
TEXT_PENALTY = 1e3
"""Ridge penalties for 10,000 rows of standardised features; scaled with the rows."""

TEXT_WEIGHT = 3.0
"""How much less the few text features are held back than the many of the embedding."""

PENALTY_ROWS = 10_000
KNOTS = 12


def text_matrix(queries: Sequence[str]) -> Floats:
    """The text features of all queries: float32 (rows, features)."""
    return np.array([list(text_features(query).values()) for query in queries], np.float32)


def train(outcomes: Outcomes, vectors: Floats, *, seed: int) -> ComplexityModel:
    """Fit both heads on the training rows and calibrate them on rows of other groups."""
    rows, others, _ = outcomes.split(seed)
    text = text_matrix(outcomes.queries)
    full = np.hstack([vectors, text])
    gain = outcomes.strong - outcomes.weak
    stretch = np.ones(full.shape[1], np.float32)
    stretch[vectors.shape[1] :] = TEXT_WEIGHT
    heads = []
    for matrix, penalty, weight in (
        (full, FULL_PENALTY, stretch),
        (text, TEXT_PENALTY, np.ones(text.shape[1], np.float32)),
    ):
        head = _fit(matrix[rows], gain[rows], penalty * len(rows) / PENALTY_ROWS, weight)
        heads.append(_calibrated(head, matrix[others], gain[others]))
    metadata = {
        "features": json.dumps(list(text_features(""))),
        "seed": str(seed),
        "data_sha256": outcomes.sha256,
        "rows": f"{len(rows)} trained, {len(others)} calibrated",
        "learned": "ridge regression of strong - weak",
    }
    return ComplexityModel(heads[0], heads[1], metadata)


def calibrate(model: ComplexityModel, outcomes: Outcomes, vectors: Floats) -> ComplexityModel:
    """The same model with its probabilities fitted to other traffic."""
    text = text_matrix(outcomes.queries)
    gain = outcomes.strong - outcomes.weak
    return ComplexityModel(
        _calibrated(model.full, np.hstack([vectors, text]), gain),
        _calibrated(model.text, text, gain),
        {**model.metadata, "calibrated_on_sha256": outcomes.sha256},
    )


def _fit(matrix: Floats, gain: Floats, penalty: float, weight: Floats) -> Head:
    """Ridge regression; the head's logit is the gain in units of its spread, so 0.5 is the mean."""
    mean = matrix.mean(axis=0)
    scale = np.maximum(matrix.std(axis=0), 1e-6) / weight
    rows = ((matrix - mean) / scale).astype(np.float64)
    gram = rows.T @ rows + penalty * np.eye(rows.shape[1])
    weights = np.linalg.solve(gram, rows.T @ (gain - gain.mean()))
    weights /= max(float((rows @ weights).std()), 1e-9)
    layer = (weights[:, None].astype(np.float32), np.zeros(1, np.float32))
    identity = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    return Head(mean.astype(np.float32), scale.astype(np.float32), (layer,), identity)


def _calibrated(head: Head, matrix: Floats, gain: Floats) -> Head:
    """Isotonic over bins of equal size: the share of queries at which the weak model suffices."""
    difficulty = head.difficulty(matrix)
    order = np.argsort(difficulty, kind="stable")
    bins = np.array_split(order, min(KNOTS, max(1, len(order) // 20)))
    suffices = (gain <= 0).astype(np.float64)
    x = np.array([difficulty[rows].mean() for rows in bins])
    y = _falling(np.array([suffices[rows].mean() for rows in bins]))
    return Head(head.mean, head.scale, head.layers, np.array([x, y], np.float32))


def _falling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest sequence that never rises: neighbours that do are pooled."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) < np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] = pools[-1] + last
    return np.array([np.mean(pool) for pool in pools for _ in pool])
