"""Embeds a corpus by another model, in the background. `ingest.py` calls it when no file waits.

    old table -> the chunks of a file -> embed -> append to the new table -> ... -> switch

Searches read the old table until all chunks are in the new one, whose indexes are made before the
switch. Whole files are appended, so a process that is killed leaves files that are in the new table
or not, and whoever starts next goes on with those that are not. One process does it at a time, in
turns, so that files that are uploaded meanwhile do not wait for the end.
"""

import asyncio
import logging
import time
from functools import partial

import numpy as np
from filelock import Timeout

from tiffin.corpus.document import Chunk, Unreadable
from tiffin.corpus.entities import Corpus, Reembedding, Visible
from tiffin.corpus.prepare import Preparer
from tiffin.corpus.rows import GROUP_CHUNKS
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.corpus.upkeep import Keeper

logger = logging.getLogger(__name__)

TURN_S = 30.0
"""After so long, or if files are uploaded, other work comes first."""


class Reembedder:
    """Works through the corpora that are to be embedded by this store's embedder."""

    def __init__(self, store: Store, prepare: Preparer, keeper: Keeper) -> None:
        self._store = store
        self._prepare = prepare
        self._keeper = keeper

    async def work(self, interrupted: asyncio.Event) -> bool:
        """Take a turn at one corpus. Whether there may be more to do at once."""
        for one in await asyncio.to_thread(self._store.records.reembeddings):
            if one.done is not None or one.embedder != self._store.embedder:
                continue
            try:
                with self._store.alone("reembedding"), self._store.writing(one.corpus):
                    return await self._turn(one, interrupted)
            except Timeout:  # another process does it, or writes this corpus
                continue
        return False

    async def _turn(self, one: Reembedding, interrupted: asyncio.Event) -> bool:
        corpus = await asyncio.to_thread(self._store.records.corpus_by_id, one.corpus)
        if corpus is None:
            return False
        new, until = self._store.table(one.table), time.monotonic() + TURN_S
        todo = await asyncio.to_thread(self._todo, corpus, new)
        while todo:
            await self._prepare.append(new, await self._next_group(corpus, todo))
            if interrupted.is_set() or time.monotonic() > until:
                break
        await asyncio.to_thread(partial(self._keeper.tidy, new, more=bool(todo)))
        return bool(todo) or await asyncio.to_thread(self._switched, one, new)

    def _todo(self, corpus: Corpus, new: Table) -> dict[str, Visible]:
        """The files whose chunks the new table does not have yet."""
        done = set(new.ids().names)
        files = self._store.records.visible(corpus.id)
        return {file: of for file, of in files.items() if of.chunks and file not in done}

    async def _next_group(self, corpus: Corpus, todo: dict[str, Visible]) -> dict[str, list[Chunk]]:
        """The chunks of the next files, which are taken out of `todo`."""
        group: dict[str, list[Chunk]] = {}
        while todo and sum(map(len, group.values())) < GROUP_CHUNKS:
            file = next(iter(todo))
            group[file] = await self._chunks(corpus, file, todo.pop(file).chunks)
        return group

    async def _chunks(self, corpus: Corpus, file: str, promised: int) -> list[Chunk]:
        """Those that are stored; cut anew if one is too long for the embedder, or some are lost."""
        old, records = self._store.table(corpus.table), self._store.records
        rows = await asyncio.to_thread(old.text_of, file)
        stored = [Chunk(row.quote, row.start, row.end, row.page, row.headings) for row in rows]
        fits = await self._prepare.tokens([row.text for row in rows]) <= self._prepare.reads()
        if fits and len(rows) == promised:
            return stored
        kept, cut = await asyncio.to_thread(records.file, corpus.tenant, file), list[Chunk]()
        try:
            cut = [] if kept is None else await self._prepare.cut(kept)
        except (OSError, Unreadable):
            logger.exception("%s cannot be cut anew; its chunks stay as they are", file)
        if not cut and not stored:
            raise Unreadable(f"{file}: its chunks are lost, and it cannot be read: remove it")
        return cut or stored

    def _switched(self, one: Reembedding, new: Table) -> bool:
        """Switch to the new table if it is whole and indexed; whether that was done."""
        keeper = self._keeper  # another process compacts just now, or vectors are being indexed
        if keeper.is_untidy(new.name) or new.name in keeper.to_index():
            return False
        ids = new.ids()
        counts = np.bincount(ids.files, minlength=len(ids.names)).tolist()
        if not self._store.records.switch(one, dict(zip(ids.names, counts, strict=True))):
            return False
        self._keeper.note_changed(one.corpus)  # what was removed meanwhile leaves the new table
        logger.info("%s: %d chunks embedded by %s", one.corpus, len(ids.seqs), one.embedder)
        return True
