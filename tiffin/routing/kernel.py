"""Applies a kernel ridge regression: what the complexity model judges by.

A query is compared with landmarks, which are queries of the training data. The nearer a landmark
lies, the more of its weight counts (Gaussian kernel, Nyström method). Far from all of them no
weight counts, and the query is judged as an average one. `lab/router/ridge.py` fits a kernel.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FARTHEST = 4.0
"""Standard deviations from the mean at which a feature is cut off."""

BLOCK = 4096
"""How many rows are compared with the landmarks at once."""


@dataclass(frozen=True)
class Kernel:
    """A fitted kernel.

    `mean` and `unit` (features,) bring the features to one scale. `landmarks` (landmarks, features)
    are on that scale, and have `weights` (landmarks,).
    """

    mean: Floats
    unit: Floats
    landmarks: Floats
    weights: Floats

    def value(self, rows: Floats) -> Floats:
        """The sum of the landmarks' weights, each times how near it is: float32 (rows,)."""
        blocks = (scaled(rows[part], self.mean, self.unit) for part in parts(len(rows)))
        return np.concatenate([nearness(block, self.landmarks) @ self.weights for block in blocks])


def parts(rows: int) -> Iterator[slice]:
    """All rows, in blocks."""
    return (slice(start, start + BLOCK) for start in range(0, rows, BLOCK))


def scaled(rows: Floats, mean: Floats, unit: Floats) -> Floats:
    """The rows on the scale of the landmarks."""
    result: Floats = np.clip((rows - mean) / unit, -FARTHEST, FARTHEST)
    return result


def nearness(rows: Floats, landmarks: Floats) -> Floats:
    """Of each row to each landmark: a Gaussian, exp(-distance² / features)."""
    squares = (rows**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1)
    distances = np.maximum(squares - 2 * rows @ landmarks.T, 0)
    near: Floats = np.exp(-distances / rows.shape[1])
    return near
