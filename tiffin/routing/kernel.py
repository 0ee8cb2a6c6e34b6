"""Kernel ridge regression, with which the complexity model judges.

`lab.router.training` fits it, `Kernel.value` applies it. A query is compared with landmarks, which
are queries of the training data: the nearer a landmark, the more of its weight counts (Gaussian
kernel, Nyström method). A query far from all of them is taken for an average one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FARTHEST = 4.0
"""Features are clipped at this many standard deviations from the mean."""

BLOCK = 4096
"""Rows that are compared at once."""


@dataclass(frozen=True)
class Fit:
    """The number of landmarks, and the ridge penalty on the variation of the judgement."""

    landmarks: int = 500
    penalty: float = 30.0


@dataclass(frozen=True)
class Kernel:
    """`mean` and `unit` (features,) bring the features to one scale.

    `landmarks` (landmarks, features) are on that scale and have `weights` (landmarks,).
    """

    mean: Floats
    unit: Floats
    landmarks: Floats
    weights: Floats

    def value(self, rows: Floats) -> Floats:
        """The sum of the landmarks' weights, each scaled by its nearness: float32 (rows,)."""
        blocks = (_scaled(rows[part], self.mean, self.unit) for part in _parts(len(rows)))
        return np.concatenate([_near(block, self.landmarks) @ self.weights for block in blocks])


def fit(rows: Floats, target: Doubles, settings: Fit, seed: int) -> Kernel:
    """Fit `target` with landmarks drawn from the rows."""
    mean, unit = rows.mean(axis=0), np.maximum(rows.std(axis=0), np.float32(1e-6))
    count = min(settings.landmarks, len(rows))
    drawn = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    landmarks = _scaled(rows[drawn], mean, unit)
    # The small diagonal keeps similar landmarks from getting large weights of opposite signs.
    left = settings.penalty * _near(landmarks, landmarks) + 1e-2 * np.eye(count)
    right = np.zeros(count)
    for part in _parts(len(rows)):
        near = _near(_scaled(rows[part], mean, unit), landmarks).astype(np.float64)
        left += near.T @ near
        right += near.T @ target[part]
    weights = np.linalg.solve(left, right).astype(np.float32)
    return Kernel(mean, unit, landmarks, weights)


def _parts(rows: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, rows, BLOCK))


def _scaled(rows: Floats, mean: Floats, unit: Floats) -> Floats:
    scaled: Floats = np.clip((rows - mean) / unit, -FARTHEST, FARTHEST)
    return scaled


def _near(rows: Floats, landmarks: Floats) -> Floats:
    """A Gaussian whose width is the number of features: exp(-distance² / features)."""
    squares = (rows**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1)
    distances = np.maximum(squares - 2 * rows @ landmarks.T, 0)
    near: Floats = np.exp(-distances / rows.shape[1])
    return near
