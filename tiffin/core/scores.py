"""Scores of the reranker: from logits to relevance, and in order."""

import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Relevance from 0 to 1 of logits, float64 of the same shape."""
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


def best_first(scores: NDArray[np.floating], count: int | None = None) -> list[int]:
    """Indices of the highest scores (n,), best first, at most `count`; ties keep their order."""
    order: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return order
