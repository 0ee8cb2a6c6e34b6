"""One search over one version of a corpus: by meaning and by words, fused. `search.py` calls it.

The dense half is an exact scan (`vectors.py`) or LanceDB's index if the corpus has one, the words
are LanceDB's BM25, at the same time, and `fusion.py` puts them in one order.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiffin.core.filters import Comparison, Compound
from tiffin.core.scores import best_first
from tiffin.corpus.entities import Visible
from tiffin.corpus.fusion import CANDIDATES, fused, without_repeats
from tiffin.corpus.rows import Row
from tiffin.corpus.table import Table
from tiffin.corpus.vectors import Vectors

SCANNED = 2_000
"""Up to so many chunks that a filter leaves are compared one by one, whatever index there is."""


@dataclass(frozen=True)
class Hit:
    """A chunk that was found. `similarity` is its cosine.

    `score` is its place in the fused order, from 0 to 1: 1 is the first of both halves.
    """

    row: Row
    name: str
    attributes: Mapping[str, Any]
    similarity: float
    score: float


@dataclass(frozen=True)
class Wanted:
    """What is searched for: a question, its embedding (width,) if there is one, and how much."""

    query: str
    vector: NDArray[np.float32] | None
    count: int
    filters: Comparison | Compound | None = None
    weights: tuple[float, float] = (1.0, 1.0)
    """How much the meaning and the words count."""


@dataclass
class Read:
    """One version of a corpus. `probes` is how the index of vectors is asked; None: it is not."""

    vectors: Vectors
    files: Mapping[str, Visible]
    probes: int | None

    @cached_property
    def everything(self) -> NDArray[np.bool_]:
        """Which chunks may be found without a filter: (n,)."""
        return self.vectors.of_files(self.files.keys())

    @cached_property
    def lacking(self) -> int:
        """Chunks that the records promise and the table does not have."""
        promised = sum(file.chunks for file in self.files.values())
        return promised - int(self.everything.sum())


def found(table: Table, read: Read, wanted: Wanted) -> list[Hit] | None:
    """The hits; None if the table was compacted since the vectors were read."""
    vectors, files = read.vectors, read.files
    allowed = read.everything
    if (filters := wanted.filters) is not None:
        passing = {name for name, file in files.items() if filters.allows(file.attributes)}
        allowed = vectors.of_files(passing)
    if not allowed.any():
        return []
    most = max(CANDIDATES, wanted.count)
    words = partial(table.words, wanted.query)
    with ThreadPoolExecutor(1) as beside:  # neither half holds Python's lock for long
        going_on = beside.submit(_passing, words, vectors, allowed, most)
        by_meaning = _by_meaning(table, read, allowed, wanted.vector, most)
        by_words = going_on.result()
    scores = fused((by_meaning, by_words), wanted.weights)
    ranked = sorted(scores, key=lambda i: -scores[i])[: 2 * most]
    position = {int(vectors.seqs[i]): i for i in ranked}
    if (different := _different(table, vectors, ranked, wanted.count)) is None:
        return None
    cosines = _cosines(table, read, [position[row.seq] for row in different], wanted.vector)
    return [
        Hit(
            row,
            files[row.file].name,
            files[row.file].attributes,
            similarity=cosine,
            score=scores[position[row.seq]],
        )
        for row, cosine in zip(different, cosines, strict=True)
    ]


def _different(
    table: Table, vectors: Vectors, ranked: Sequence[int], count: int
) -> list[Row] | None:
    """The first chunks that say different things; None if one has moved.

    Not all are fetched at once, because the first are nearly always enough.
    """
    different: list[Row] = []
    for some in (2 * count, len(ranked)):
        first = ranked[:some]
        rows = table.rows([int(vectors.places[i]) for i in first])
        if len(rows) < len(first):
            return None
        different = without_repeats([rows[int(vectors.seqs[i])] for i in first], count)
        if len(different) == count or some >= len(ranked):
            break
    return different


def _cosines(
    table: Table, read: Read, positions: Sequence[int], vector: NDArray[np.float32] | None
) -> list[float]:
    """Of the chunks at these positions; 0 without an embedding."""
    vectors = read.vectors
    if vector is None or not positions:
        return [0.0] * len(positions)
    if vectors.exact:
        return [float(vectors.rows[i] @ vector) for i in positions]
    stored = table.vectors_at([int(vectors.places[i]) for i in positions])
    nothing = np.zeros_like(vector)  # of a chunk that is deleted just now
    return [float(stored.get(int(vectors.seqs[i]), nothing) @ vector) for i in positions]


def _by_meaning(
    table: Table,
    read: Read,
    allowed: NDArray[np.bool_],
    vector: NDArray[np.float32] | None,
    count: int,
) -> list[int]:
    """Positions of the chunks most similar to the query, best first; none without its embedding.

    An index is not asked if few chunks may be found: it would have to be asked for very many.
    """
    if vector is None:
        return []
    if read.probes is None:
        return [i for i, _ in read.vectors.similar(vector, allowed, count)]
    few = np.flatnonzero(allowed)
    if len(few) <= SCANNED:
        cosines = np.array(_cosines(table, read, few.tolist(), vector))
        return [int(few[i]) for i in best_first(cosines, count)]
    near = partial(table.near, vector, probes=read.probes)
    return _passing(near, read.vectors, allowed, count)


def _passing(
    find: Callable[[int], list[tuple[int, float]]],
    vectors: Vectors,
    allowed: NDArray[np.bool_],
    count: int,
) -> list[int]:
    """Positions of the chunks that are found and allowed, best first.

    LanceDB misses matches if it filters itself (lancedb#4957), so more and more are fetched until
    enough of them pass.
    """
    limit = count
    while True:
        best = find(limit)
        positions = vectors.positions([seq for seq, _ in best])
        passing = [i for i in positions if i is not None and allowed[i]]
        if len(passing) >= count or len(best) < limit:
            return passing[:count]
        limit *= 8
