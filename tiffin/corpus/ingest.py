"""Ingestion: files that wait become chunks that can be found. One task in the entry service.

    waiting -> parse (subprocess) -> chunk -> embed -> append to the table -> completed

The records say what waits, so a process that dies in the middle loses nothing: whoever starts next
finds the same files waiting and begins with them anew, and what was half written is deleted before
it is appended again. A corpus is written under its lock; if another process holds it, that
process does the work. Files of a corpus that another model embeds wait until it is embedded anew.
Indexes of vectors are made in a second task, because files must not wait for them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from tiffin.core.errors import RECOVERABLE, from_full_disk
from tiffin.corpus.document import Chunk, Unreadable
from tiffin.corpus.entities import File, Member
from tiffin.corpus.prepare import Preparer
from tiffin.corpus.rows import GROUP_CHUNKS
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.corpus.upkeep import Keeper
from tiffin.telemetry import metrics

logger = logging.getLogger(__name__)

PERIOD_S = 30.0
"""Between two looks at what other processes queued and at what has expired."""


Check = Callable[[Mapping[str, Sequence[str]]], Awaitable[None]]
"""Checks the chunks of files for instructions: `tiffin.safety.storing`, set by the composition."""


@dataclass
class _Group:
    """Files that are appended together, and the chunks of each."""

    members: list[Member] = field(default_factory=list)
    chunks: dict[str, list[Chunk]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks.values()))


class Ingestion:
    """Works through what waits, from `start` until `stop`.

    When no file waits, it does a part of what is `spare`, which ends when the event is set, and
    says whether there is more.
    """

    def __init__(
        self,
        store: Store,
        prepare: Preparer,
        keeper: Keeper,
        spare: Callable[[asyncio.Event], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._indexing: asyncio.Task[None] | None = None
        self._prepare = prepare
        self.keeper = keeper
        self._spare = spare
        self.trouble: str | None = None
        self.check: Check | None = None

    def start(self) -> None:
        """Go on with what waits, if anything was ever stored. Needs a running event loop."""
        if self._store.exists:
            self.wake()

    def wake(self, corpus: str | None = None) -> None:
        """Look at once: files wait, or some were taken out of this corpus."""
        if corpus is not None:
            self.keeper.note_changed(corpus)
        self._woken.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="ingestion")

    async def stop(self) -> None:
        """Stop; what is half done is done anew by the next start."""
        tasks = [task for task in (self._task, self._indexing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._prepare.close()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                again = await self._round()
                self.trouble = None
            except Exception as error:
                if from_full_disk(error) is None:
                    logger.exception("ingestion has stopped for %.0f s", PERIOD_S)
                    what = type(error).__name__
                else:
                    logger.error("files wait until there is room on the disk: %s", error)  # noqa: TRY400
                    what = "the disk is full"
                self.trouble, again = f"ingestion: {what}", False
            metrics.ingestion_stopped.set(self.trouble is not None)
            if not again:
                await self._prepare.close()
                # Python 3.11's wait_for forgets that it is cancelled if it is woken just then.
                with suppress(TimeoutError):
                    async with asyncio.timeout(PERIOD_S):
                        await self._woken.wait()

    async def _round(self) -> bool:
        """Work through some of what waits; whether there may be more."""
        records = self._store.records
        await asyncio.to_thread(self._sweep)
        waiting = await asyncio.to_thread(records.waiting, self._store.embedder, GROUP_CHUNKS)
        worked = False
        for corpus, files in groupby(waiting, key=lambda pair: pair[0].corpus):
            worked |= await self._turn(corpus, list(files))
        for corpus in await asyncio.to_thread(self.keeper.due):
            await self._turn(corpus, [])
        for state, count in (await asyncio.to_thread(records.totals)).items():
            metrics.series(metrics.corpus_files, state).set(count)
        again = worked or await self._spare(self._woken)
        if self._indexing is None and (due := await asyncio.to_thread(self.keeper.to_index)):
            self._indexing = asyncio.create_task(self._index(due[0]), name="indexing")
        return again

    async def _index(self, table: str) -> None:
        """Make the index of a table's vectors, and look at once what waited for it."""
        try:
            if await asyncio.to_thread(self.keeper.index, table):
                self._woken.set()
        except Exception:
            logger.exception("%s could not be indexed; it is tried again", table)
        finally:
            self._indexing = None

    async def _turn(self, corpus: str, files: Sequence[tuple[Member, File]]) -> bool:
        """Ingest files of one corpus, and tidy its table; False if another process does."""
        try:
            with self._store.writing(corpus):
                stored = await asyncio.to_thread(self._store.records.corpus_by_id, corpus)
                if stored is None or (files and stored.embedder != self._store.embedder):
                    return False
                if self._store.shared is not None:  # others may have done it just before
                    files = await asyncio.to_thread(self._still, files)
                table = await asyncio.to_thread(self._store.table, stored.table)
                await self._ingest(corpus, table, files)
                more = await asyncio.to_thread(self._waits, corpus)
                await asyncio.to_thread(partial(self.keeper.tidy, table, more=more))
        except Timeout:
            return False
        return bool(files)

    async def _ingest(
        self, corpus: str, table: Table, files: Sequence[tuple[Member, File]]
    ) -> None:
        """Group after group: while one is embedded, the last is written and the next is cut."""
        todo = list(files)
        group = await self._next_group(todo)
        following = writing = None
        try:
            while group.members:
                following = asyncio.create_task(self._next_group(todo))
                vectors = await self._prepare.embed(group.chunks)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write(corpus, table, group, vectors))
                group = await following
            if writing is not None:
                await writing
        finally:  # what is being written ends before another process may write
            if following is not None:
                following.cancel()
            going_on = [task for task in (following, writing) if task is not None]
            await asyncio.gather(*going_on, return_exceptions=True)

    async def _next_group(self, todo: list[tuple[Member, File]]) -> _Group:
        group = _Group()
        while todo and group.size < GROUP_CHUNKS:
            member, file = todo.pop(0)
            try:
                group.chunks[file.id] = await self._prepare.cut(file)
                group.members.append(member)
            except Unreadable as error:
                await self._fail(member, "invalid_file", str(error))
            except RECOVERABLE:
                raise
            except Exception as error:
                logger.exception("%s could not be read", file.id)
                why = f"{file.name}: could not be read ({type(error).__name__})"
                await self._fail(member, "server_error", why)
        return group

    async def _fail(self, member: Member, code: str, why: str) -> None:
        records = self._store.records
        await self._store.ask(records.fail, member.corpus, member.file, code, why)

    async def _write(
        self, corpus: str, table: Table, group: _Group, vectors: NDArray[np.float32]
    ) -> None:
        """Append a group and only then let its chunks be found; then tidy, if that is due."""
        await self._prepare.store(table, group.chunks, vectors)
        counts = {file: len(its) for file, its in group.chunks.items()}
        await _checked(self.check, group)
        await asyncio.to_thread(self._store.records.complete, corpus, counts)
        await asyncio.to_thread(partial(self.keeper.tidy, table, more=True))

    def _still(self, files: Sequence[tuple[Member, File]]) -> list[tuple[Member, File]]:
        """Those of the files that wait now."""
        known = self._store.records.member
        now = [(known(member.corpus, member.file), file) for member, file in files]
        return [(its, file) for its, file in now if its and its.state == "in_progress"]

    def _waits(self, corpus: str) -> bool:
        return bool(self._store.records.counts(corpus)[0].get("in_progress"))

    def _sweep(self) -> None:
        """Remove what has expired."""
        for file in self._store.records.expired_files():
            self._store.remove(file)
        self._store.clean()


async def _checked(check: Check | None, group: _Group) -> None:
    if check is not None:
        await check({file: [one.text for one in its] for file, its in group.chunks.items()})
