"""Puts what the two halves of a search found in one order. `search.py` calls it.

Reciprocal rank fusion is Cormack et al.'s (2009). Chunks that say the same count once.
"""

from collections.abc import Sequence

from tiffin.corpus.rows import Row

CANDIDATES = 50
"""Of each half, before they are fused."""

SAME = 0.9
"""Two chunks that share this much of their words (Jaccard) say the same."""

RANK_OFFSET = 60
"""The constant of reciprocal rank fusion, as published."""


def fused(rankings: Sequence[Sequence[int]], weights: Sequence[float]) -> dict[int, float]:
    """Reciprocal rank fusion: a score from 0 to 1 for everything that stands in a ranking."""
    scores: dict[int, float] = {}
    first = sum(weights) / (RANK_OFFSET + 1) or 1.0
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, item in enumerate(ranking, start=1):
            share = weight / (RANK_OFFSET + rank) / first
            scores[item] = min(1.0, scores.get(item, 0.0) + share)
    return scores


def without_repeats(rows: Sequence[Row], count: int) -> list[Row]:
    """The first `count` rows that say different things."""
    kept: list[tuple[Row, frozenset[str]]] = []
    for row in rows:
        words = frozenset(row.quote.lower().split())
        if not any(_alike(words, others) for _, others in kept):
            kept.append((row, words))
        if len(kept) == count:
            break
    return [row for row, _ in kept]


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= SAME * max(1, len(one | other))
