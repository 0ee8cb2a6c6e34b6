"""Finds the chunks of a corpus that may answer: by meaning and by words, fused.

Used by the search stage of the pipeline and by `/v1/vector_stores/{id}/search`. The dense half is
an exact scan (`vectors.py`) or LanceDB's index if the corpus has one, the words are LanceDB's BM25,
and `fusion.py` puts them in one order. A search is whole or fails: chunks that the records promise
and the table lacks are an error.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiffin.core.context import RequestContext
from tiffin.core.errors import DeadlineExceeded, UpstreamFailed
from tiffin.core.filters import Comparison, Compound
from tiffin.core.scores import best_first
from tiffin.corpus.entities import Corpus, Visible
from tiffin.corpus.fusion import CANDIDATES, fused, without_repeats
from tiffin.corpus.rows import Row
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.corpus.vectors import Vectors

logger = logging.getLogger(__name__)

SCANNED = 2_000
"""Up to so many chunks that a filter leaves are compared one by one, whatever index there is."""

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
class _Read:
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


@dataclass
class _Open:
    """What is kept of a corpus between searches; `version` is that of its records."""

    read: _Read = field(default_factory=lambda: _Read(Vectors(), {}, None))
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
        named = corpus.name or corpus.id
        try:
            table = self._store.table(corpus.id)
            kept = self._open.setdefault(corpus.id, _Open())
            for _ in range(STALE_READS):
                read = self._refreshed(corpus, table, kept)
                if read.lacking <= 0 and (hits := _found(table, read, wanted)) is not None:
                    return hits
                kept.read, kept.version = _Read(Vectors(), {}, None), -1
        except (OSError, RuntimeError, ValueError) as error:  # LanceDB's
            logger.exception("%s could not be searched", corpus.id)
            raise UpstreamFailed(f"the corpus {named} cannot be read; the log says why") from error
        if read.lacking > 0:
            message = f"{read.lacking} chunks of the corpus {named} are missing; ingest it again"
            raise UpstreamFailed(message)
        raise UpstreamFailed(f"the corpus {named} changes faster than it is read")

    def _refreshed(self, corpus: Corpus, table: Table, kept: _Open) -> "_Read":
        """What there is now; several searches after a change read it once."""
        with kept.lock:
            read, version = kept.read, table.version
            if kept.version == corpus.version and read.vectors.version == version:
                return read
            records = self._store.records
            files, probes = records.visible(corpus.id), records.upkeep(corpus.id).probes
            vectors = read.vectors.refreshed(table, exact=probes is None)
            kept.read, kept.version = _Read(vectors, files, probes), corpus.version
            return kept.read


def _found(table: Table, read: _Read, wanted: Wanted) -> list[Hit] | None:
    """The hits; None if the table was compacted since the vectors were read."""
    vectors, files = read.vectors, read.files
    allowed = read.everything
    if (filters := wanted.filters) is not None:
        passing = {name for name, file in files.items() if filters.allows(file.attributes)}
        allowed = vectors.of_files(passing)
    if not allowed.any():
        return []
    most = max(CANDIDATES, wanted.count)
    by_meaning = _by_meaning(table, read, allowed, wanted.vector, most)
    by_words = _passing(partial(table.words, wanted.query), vectors, allowed, most)
    scores = fused((by_meaning, by_words), wanted.weights)
    ranked = sorted(scores, key=lambda i: -scores[i])[: 2 * most]
    rows = table.rows([int(vectors.places[i]) for i in ranked])
    seqs = [int(vectors.seqs[i]) for i in ranked]
    if any(seq not in rows for seq in seqs):
        return None
    different = without_repeats([rows[seq] for seq in seqs], wanted.count)
    position = dict(zip(seqs, ranked, strict=True))
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


def _cosines(
    table: Table, read: _Read, positions: Sequence[int], vector: NDArray[np.float32] | None
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
    read: _Read,
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
        found = find(limit)
        positions = vectors.positions([seq for seq, _ in found])
        passing = [i for i in positions if i is not None and allowed[i]]
        if len(passing) >= count or len(found) < limit:
            return passing[:count]
        limit *= 8
