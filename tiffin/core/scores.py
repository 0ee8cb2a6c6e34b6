"""What a reranker's logits and a search's scores become: relevance from 0 to 1, and an order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Relevance from 0 to 1 in float64, of the same shape as the logits."""
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


def best_first(scores: NDArray[np.floating[Any]]) -> list[int]:
    """Indices of scores of shape (n,), highest first; equal ones keep their order."""
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return order
