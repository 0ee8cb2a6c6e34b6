"""Finds the chunks of a corpus that may answer: by meaning and by words, fused.

Used by the search stage of the pipeline and by `/v1/vector_stores/{id}/search`. What is kept of a
corpus between searches is here, and `hybrid.py` searches it. A search is whole or fails: chunks
that the records promise and the table lacks are an error.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from dataclasses import dataclass, field, replace

from tiffin.core.context import RequestContext
from tiffin.core.errors import DeadlineExceeded, Unavailable, UpstreamFailed
from tiffin.corpus.entities import Corpus
from tiffin.corpus.hybrid import Hit, Read, Wanted, found
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.corpus.vectors import Vectors

logger = logging.getLogger(__name__)

NOTED_S = 60
"""How exactly it is known when a corpus was last asked."""

OTHER_EMBEDDER = "other_embedder"
"""What an answer says that was searched for by words only, because of its corpus' vectors."""

STALE_READS = 3
"""Times that a search starts over because the table was compacted under it."""


@dataclass(frozen=True)
class Found:
    """What a search found, best first. `by_words` is whether the meaning could not be searched.

    This is so as long as a corpus has the vectors of another embedder than the server's.
    """

    hits: list[Hit]
    by_words: bool


@dataclass
class _Open:
    """What is kept of a corpus between searches, and of which table; `version` is its records'."""

    table: str = ""
    read: Read = field(default_factory=lambda: Read(Vectors(), {}, None))
    version: int = -1
    lock: threading.Lock = field(default_factory=threading.Lock)


class Searcher:
    """Searches the corpora of one store; safe for any number of searches at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, _Open] = {}

    async def search(self, corpus: Corpus, wanted: Wanted, context: RequestContext) -> Found:
        """The best chunks. Raises DeadlineExceeded, and UpstreamFailed."""
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
            try:
                await asyncio.to_thread(self._store.records.touch, corpus.id)
            except (sqlite3.OperationalError, Unavailable) as error:  # such as for a full disk
                logger.warning("corpus %s: that it was asked is not noted: %s", corpus.id, error)

    def close(self, corpus: str) -> None:
        """Let go of what is kept of a corpus."""
        self._open.pop(corpus, None)

    def _search(self, corpus: Corpus, wanted: Wanted) -> Found:
        named = corpus.name or corpus.id
        try:
            kept = self._open.setdefault(corpus.id, _Open())
            for _ in range(STALE_READS):
                table = self._store.table(corpus.table)
                read = self._refreshed(corpus, table, kept)
                by_words = corpus.embedder != self._store.embedder
                asked = replace(wanted, vector=None) if by_words else wanted
                if read.lacking <= 0 and (hits := found(table, read, asked)) is not None:
                    return Found(hits, by_words)
                kept.read, kept.version = Read(Vectors(), {}, None), -1
                corpus = self._store.records.corpus_by_id(corpus.id) or corpus
        except (OSError, RuntimeError, ValueError) as error:  # LanceDB's
            logger.exception("%s could not be searched", corpus.id)
            raise UpstreamFailed(f"the corpus {named} cannot be read; the log says why") from error
        if read.lacking > 0:
            message = f"{read.lacking} chunks of the corpus {named} are missing; ingest it again"
            raise UpstreamFailed(message)
        raise UpstreamFailed(f"the corpus {named} changes faster than it is read")

    def _refreshed(self, corpus: Corpus, table: Table, kept: _Open) -> "Read":
        """What there is now; several searches after a change read it once."""
        with kept.lock:
            if kept.table != table.name:
                kept.table, kept.read, kept.version = table.name, Read(Vectors(), {}, None), -1
            read, version = kept.read, table.version
            if kept.version == corpus.version and read.vectors.version == version:
                return read
            records = self._store.records
            files, probes = records.visible(corpus.id), records.upkeep(table.name).probes
            vectors = read.vectors.refreshed(table, exact=probes is None)
            kept.read, kept.version = Read(vectors, files, probes), corpus.version
            return kept.read
