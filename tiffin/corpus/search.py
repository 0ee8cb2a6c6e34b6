"""Finds the chunks of a corpus that may answer: by meaning and by words, fused.

Used by the search stage of the pipeline and by `/v1/vector_stores/{id}/search`. The dense half is
an exact scan (`vectors.py`), the words are LanceDB's BM25; reciprocal rank fusion (Cormack et al.,
2009) puts them in one order. Chunks that say the same count once.
"""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiffin.core.context import RequestContext
from tiffin.core.errors import DeadlineExceeded, UpstreamFailed
from tiffin.core.filters import Comparison, Compound
from tiffin.corpus.entities import Corpus
from tiffin.corpus.store import Store
from tiffin.corpus.table import Row, Table
from tiffin.corpus.vectors import Vectors

RANK_OFFSET = 60
"""The constant of reciprocal rank fusion, as published."""

CANDIDATES = 50
"""Of each half, before they are fused."""

SAME = 0.9
"""Two chunks that share this much of their words (Jaccard) say the same."""

NOTED_S = 60
"""How exactly it is known when a corpus was last asked."""

STALE_READS = 3
"""Times that a search starts over because the table was compacted under it."""


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
class _Open:
    """What is kept of a corpus between searches."""

    vectors: Vectors = field(default_factory=Vectors)
    files: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    version: int = -1
    lock: threading.Lock = field(default_factory=threading.Lock)


class Searcher:
    """Searches the corpora of one store; safe for any number of searches at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, _Open] = {}

    async def search(self, corpus: Corpus, wanted: Wanted, context: RequestContext) -> list[Hit]:
        """The best chunks, best first. Raises DeadlineExceeded, and UpstreamFailed."""
        work = asyncio.create_task(asyncio.to_thread(self._search, corpus, wanted))
        done, _ = await asyncio.wait({work}, timeout=max(0.0, context.deadline.remaining()))
        if not done:
            work.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise DeadlineExceeded(f"the search of {corpus.name or corpus.id} took too long")
        await self._note_asked(corpus)
        return work.result()

    async def _note_asked(self, corpus: Corpus) -> None:
        """Record that a corpus was asked, so that it does not expire; not at every question."""
        if time.time() - corpus.active > NOTED_S:
            await asyncio.to_thread(self._store.records.touch, corpus.id)

    def close(self, corpus: str) -> None:
        """Let go of what is kept of a corpus."""
        self._open.pop(corpus, None)

    def _search(self, corpus: Corpus, wanted: Wanted) -> list[Hit]:
        table = self._store.table(corpus.id)
        kept = self._open.setdefault(corpus.id, _Open())
        for _ in range(STALE_READS):
            with kept.lock:  # several searches after a change read it once
                if kept.version != corpus.version:
                    kept.files, kept.version = self._visible(corpus), corpus.version
                kept.vectors = kept.vectors.refreshed(table)
                vectors, files = kept.vectors, kept.files
            hits = _found(table, vectors, files, wanted)
            if hits is not None:
                return hits
            kept.vectors = Vectors()
        raise UpstreamFailed(
            f"the corpus {corpus.name or corpus.id} changes faster than it is read"
        )

    def _visible(self, corpus: Corpus) -> dict[str, tuple[str, dict[str, Any]]]:
        return self._store.records.visible(corpus.id)


def _found(
    table: Table,
    vectors: Vectors,
    files: Mapping[str, tuple[str, dict[str, Any]]],
    wanted: Wanted,
) -> list[Hit] | None:
    """The hits; None if the table was compacted since the vectors were read."""
    names = {
        file
        for file, (_, attributes) in files.items()
        if wanted.filters is None or wanted.filters.allows(attributes)
    }
    allowed = vectors.of_files(names)
    if not allowed.any():
        return []
    most = max(CANDIDATES, wanted.count)
    by_meaning: list[int] = []
    if wanted.vector is not None:
        by_meaning = [i for i, _ in vectors.similar(wanted.vector, allowed, most)]
    by_words = _by_words(table, vectors, allowed, wanted.query, most)
    scores = fused((by_meaning, by_words), wanted.weights)
    ranked = sorted(scores, key=lambda i: -scores[i])[: 2 * most]
    rows = table.rows([int(vectors.places[i]) for i in ranked])
    seqs = [int(vectors.seqs[i]) for i in ranked]
    if any(seq not in rows for seq in seqs):
        return None
    different = _without_repeats([rows[seq] for seq in seqs], wanted.count)
    position = dict(zip(seqs, ranked, strict=True))
    return [
        Hit(
            row,
            *files[row.file],
            similarity=_similarity(vectors, position[row.seq], wanted),
            score=scores[position[row.seq]],
        )
        for row in different
    ]


def _similarity(vectors: Vectors, position: int, wanted: Wanted) -> float:
    return 0.0 if wanted.vector is None else vectors.cosine(position, wanted.vector)


def _by_words(
    table: Table, vectors: Vectors, allowed: NDArray[np.bool_], query: str, count: int
) -> list[int]:
    """Positions of the chunks that share words with the query, best first.

    LanceDB misses matches if it filters itself (lancedb#4957), so more and more are fetched until
    enough of them pass.
    """
    limit = count
    while True:
        found = table.words(query, limit)
        positions = vectors.positions([seq for seq, _ in found])
        passing = [i for i in positions if i is not None and allowed[i]]
        if len(passing) >= count or len(found) < limit:
            return passing[:count]
        limit *= 8


def fused(rankings: Sequence[Sequence[int]], weights: Sequence[float]) -> dict[int, float]:
    """Reciprocal rank fusion: a score from 0 to 1 for everything that stands in a ranking."""
    scores: dict[int, float] = {}
    first = sum(weights) / (RANK_OFFSET + 1) or 1.0
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, item in enumerate(ranking, start=1):
            share = weight / (RANK_OFFSET + rank) / first
            scores[item] = min(1.0, scores.get(item, 0.0) + share)
    return scores


def _without_repeats(rows: Sequence[Row], count: int) -> list[Row]:
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
