"""Fits the kernel ridge regression that `tiffin.routing.kernel` applies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiffin.routing.kernel import Floats, Kernel, nearness, parts, scaled

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """How many landmarks, and the ridge penalty on how much the judgement varies."""

    landmarks: int = 500
    penalty: float = 30.0


def fit(rows: Floats, target: Doubles, settings: Fit, seed: int) -> Kernel:
    """Fit `target` with landmarks drawn from the rows."""
    mean, unit = rows.mean(axis=0), np.maximum(rows.std(axis=0), np.float32(1e-6))
    count = min(settings.landmarks, len(rows))
    drawn = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    landmarks = scaled(rows[drawn], mean, unit)
    # The small diagonal prevents similar landmarks from having large weights of opposite signs.
    left = settings.penalty * nearness(landmarks, landmarks) + 1e-2 * np.eye(count)
    right = np.zeros(count)
    for part in parts(len(rows)):
        near = nearness(scaled(rows[part], mean, unit), landmarks).astype(np.float64)
        left += near.T @ near
        right += near.T @ target[part]
    weights = np.linalg.solve(left, right).astype(np.float32)
    return Kernel(mean, unit, landmarks, weights)
