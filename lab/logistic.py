"""Logistic regression with a ridge, which `lab.answers` and `lab.safety` train their heads by."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def logistic(x: Floats, y: NDArray[np.bool_], ridge: Floats) -> tuple[Floats, float]:
    """Weights (columns,) and bias of rows (n, columns), by Newton's method.

    `ridge` has a number for each column. Both answers of `y` (n,) weigh the same.
    """
    x = np.hstack([x, np.ones((len(x), 1))])
    penalty = np.diag([*ridge, 0.0])
    balance = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (balance * (p - y)) + penalty @ weights
        curvature = (x * (balance * p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-6:  # noqa: PLR2004
            break
    return weights[:-1], float(weights[-1])
