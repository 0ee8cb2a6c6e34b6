"""Small decision trees that add up: what the complexity model judges by.

`tiffin.routing.training` grows them by gradient boosting on squared error, `Trees.value` walks
them. All are complete: `DEPTH` questions lead from the root to a leaf, so that a walk through every
tree at once is `DEPTH` numpy look-ups, and an ensemble is three arrays of a model file.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Codes = NDArray[np.intp]

DEPTH = 3
NODES = 2**DEPTH - 1
BINS = 32
"""Values of a feature that a question can tell apart."""


@dataclass(frozen=True)
class Growth:
    """How trees are grown. `rows` and `features` are the shares that each tree sees."""

    trees: int = 200
    rate: float = 0.05
    leaf_rows: int = 80
    penalty: float = 50.0
    rows: float = 0.6
    features: float = 0.4


@dataclass(frozen=True)
class Trees:
    """`features` (trees, NODES) and `thresholds` are the questions, `leaves` (trees, 2**DEPTH).

    A node's question is whether the row's feature is above the threshold; the root is node 0, and
    node n leads to 2n + 1 where it is not and to 2n + 2 where it is.
    """

    features: Floats
    thresholds: Floats
    leaves: Floats

    def value(self, rows: Floats) -> Floats:
        """The sum of all trees for each row: float32 (rows,)."""
        number = np.arange(len(self.features))
        features = self.features.astype(np.intp)
        sums = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), 1024):  # a block at a time, to stay in the cache
            block = rows[start : start + 1024]
            across = np.arange(len(block))[:, None]
            node = np.zeros((len(block), len(number)), np.intp)
            for _ in range(DEPTH):
                above = block[across, features[number, node]] > self.thresholds[number, node]
                node = 2 * node + 1 + above
            sums[start : start + 1024] = self.leaves[number, node - NODES].sum(axis=1)
        return sums


def grow(rows: Floats, target: Doubles, growth: Growth, seed: int) -> Trees:
    """Boost: each tree is fitted to what the ones before it leave of `target`."""
    random = np.random.default_rng(seed)
    edges = _edges(rows)
    codes = np.stack([np.searchsorted(*pair) for pair in zip(edges, rows.T, strict=True)], axis=1)
    left = target.astype(np.float64)
    count, width = rows.shape
    grown = []
    for _ in range(growth.trees):
        seen = random.choice(count, round(count * growth.rows), replace=False)
        chosen = random.choice(width, max(1, round(width * growth.features)), replace=False)
        own, cuts, sums = _tree(codes[np.ix_(seen, chosen)], left[seen], growth)
        features, leaves = chosen[own], growth.rate * sums
        left = left - leaves[_leaf_of(codes, features, cuts)]
        grown.append((features, edges[features, cuts], leaves))
    return Trees(*(np.array(part, np.float32) for part in zip(*grown, strict=True)))


def _edges(rows: Floats) -> Floats:
    """For each feature the values between which a question may cut; infinite where it may not."""
    edges = np.full((rows.shape[1], BINS + 1), np.inf, np.float32)
    for own, column in zip(edges, rows.T, strict=True):
        values = np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1]))
        own[: len(values)] = values
    return edges


def _tree(codes: Codes, target: Doubles, growth: Growth) -> tuple[Codes, Codes, Doubles]:
    """The tree's features, cuts (the code that is last below) and leaves, level by level."""
    features, cuts = np.zeros(NODES, np.intp), np.full(NODES, BINS)
    node = np.zeros(len(codes), np.intp)
    for level in range(DEPTH):
        first = 2**level - 1
        here = slice(first, first + 2**level)
        features[here], cuts[here] = _best_cuts(codes, target, node, 2**level, growth)
        asked = first + node
        node = 2 * node + (codes[np.arange(len(codes)), features[asked]] > cuts[asked])
    sums = np.bincount(node, target, 2**DEPTH)
    return features, cuts, sums / (np.bincount(node, minlength=2**DEPTH) + growth.penalty)


def _best_cuts(
    codes: Codes, target: Doubles, node: Codes, nodes: int, growth: Growth
) -> tuple[Codes, Codes]:
    """For each node of a level the feature and the cut that lower the squared error most."""
    width = codes.shape[1]
    cell = ((node[:, None] * width + np.arange(width)) * BINS + codes).ravel()
    shape = (nodes, width, BINS)
    size = nodes * width * BINS
    counts = np.bincount(cell, minlength=size).reshape(shape).cumsum(axis=2)
    sums = np.bincount(cell, np.repeat(target, width), size).reshape(shape).cumsum(axis=2)
    total, whole = counts[:, :, -1:], sums[:, :, -1:]
    worth = sums**2 / (counts + growth.penalty)
    worth += (whole - sums) ** 2 / (total - counts + growth.penalty)
    fits = (counts >= growth.leaf_rows) & (total - counts >= growth.leaf_rows)
    worth = np.where(fits, worth, whole**2 / (total + growth.penalty))
    best = worth.reshape(nodes, -1).argmax(axis=1)
    feature, cut = np.divmod(best, BINS)
    return feature, np.where(fits.reshape(nodes, -1)[np.arange(nodes), best], cut, BINS)


def _leaf_of(codes: Codes, features: Codes, cuts: Codes) -> Codes:
    node = np.zeros(len(codes), np.intp)
    for _ in range(DEPTH):
        node = 2 * node + 1 + (codes[np.arange(len(codes)), features[node]] > cuts[node])
    leaf: Codes = node - NODES
    return leaf
