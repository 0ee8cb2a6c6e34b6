"""Ingestion: files that wait become chunks that can be found. One task in the entry service.

    waiting -> parse (subprocess) -> chunk -> embed -> append to the table -> completed

The records say what waits, so a process that dies in the middle loses nothing: whoever starts next
finds the same files waiting and begins with them anew, and what was half written is deleted before
it is appended again. A corpus is written under its file lock; if another process holds it, that
process does the work. Ingestion is batch work: its calls are small, so that questions get between.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from tiffin.clients import EmbeddingClient
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import RECOVERABLE
from tiffin.corpus.chunk import chunk
from tiffin.corpus.document import Chunk, Unreadable
from tiffin.corpus.entities import File, Member
from tiffin.corpus.parse import Parser
from tiffin.corpus.rows import searched_text
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.corpus.upkeep import Keeper
from tiffin.telemetry import metrics

logger = logging.getLogger(__name__)

GROUP_CHUNKS = 256
"""Chunks of one append: small files share one, because each append is a piece of the table."""

CALL_CHUNKS = 8
CALLS = 3
"""In flight at once: enough that the embedder never waits, and a question waits for few."""

CALL_S = 60.0
PERIOD_S = 30.0
"""Between two looks at what other processes queued and at what has expired."""

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
HEADING_TOKENS = 32
"""Of the tokens that the embedder reads, those left for a chunk's headings."""


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

    `reads` says how many tokens the embedder reads of a text.
    """

    def __init__(self, store: Store, embedding: EmbeddingClient, reads: Callable[[], int]) -> None:
        self._store = store
        self._embedding = embedding
        self._reads = reads
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last: dict[str, int] = {}
        self._parser = Parser()
        self.keeper = Keeper(store)
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
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._parser.close()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                again = await self._round()
                self.trouble = None
            except Exception as error:
                logger.exception("ingestion has stopped for %.0f s", PERIOD_S)
                self.trouble, again = f"ingestion: {type(error).__name__}", False
            metrics.ingestion_stopped.set(self.trouble is not None)
            if not again:
                await self._parser.close()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), PERIOD_S)

    async def _round(self) -> bool:
        """Work through some of what waits; whether there may be more."""
        records = self._store.records
        await asyncio.to_thread(self._sweep)
        waiting = await asyncio.to_thread(records.waiting, GROUP_CHUNKS)
        worked = False
        for corpus, files in groupby(waiting, key=lambda pair: pair[0].corpus):
            worked |= await self._turn(corpus, list(files))
        for corpus in await asyncio.to_thread(self.keeper.due):
            await self._turn(corpus, [])
        for state, count in (await asyncio.to_thread(records.totals)).items():
            metrics.series(metrics.corpus_files, state).set(count)
        return worked

    async def _turn(self, corpus: str, files: Sequence[tuple[Member, File]]) -> bool:
        """Ingest files of one corpus, and tidy its table; False if another process does."""
        table = await asyncio.to_thread(self._store.table, corpus)
        try:
            with table.writing():
                await self._ingest(corpus, table, files)
                more = await asyncio.to_thread(self._waits, corpus)
                await asyncio.to_thread(partial(self.keeper.tidy, corpus, table, more=more))
        except Timeout:
            return False
        return bool(files)

    async def _ingest(
        self, corpus: str, table: Table, files: Sequence[tuple[Member, File]]
    ) -> None:
        """Group after group: while one is embedded, the next is read and cut."""
        todo = list(files)
        group = await self._next_group(todo)
        while group.members:
            following = asyncio.create_task(self._next_group(todo))
            try:
                await self._write(corpus, table, group)
            except BaseException:
                following.cancel()
                raise
            group = await following

    async def _next_group(self, todo: list[tuple[Member, File]]) -> _Group:
        group = _Group()
        while todo and group.size < GROUP_CHUNKS:
            member, file = todo.pop(0)
            try:
                group.chunks[file.id] = await self._cut(file)
                group.members.append(member)
            except Unreadable as error:
                self._store.records.fail(member.corpus, file.id, "invalid_file", str(error))
            except RECOVERABLE:
                raise
            except Exception as error:
                logger.exception("%s could not be read", file.id)
                why = f"{file.name}: could not be read ({type(error).__name__})"
                self._store.records.fail(member.corpus, file.id, "server_error", why)
        return group

    async def _cut(self, file: File) -> list[Chunk]:
        data = await asyncio.to_thread(self._store.content(file.digest).read_bytes)
        limit = self._reads() - HEADING_TOKENS
        parsed = await self._parser.parse(data, file.name, file.media_type)
        return await asyncio.to_thread(chunk, parsed, self._counter(), limit)

    def _counter(self) -> Callable[[Sequence[str]], list[int]]:
        """Counts tokens, for a thread: the Embedding service has the tokenizer."""
        loop = asyncio.get_running_loop()

        def count(texts: Sequence[str]) -> list[int]:
            context = RequestContext(Deadline.after(CALL_S), batch=True)
            counted = self._embedding.count(texts, context)
            return asyncio.run_coroutine_threadsafe(counted, loop).result(CALL_S)

        return count

    async def _write(self, corpus: str, table: Table, group: _Group) -> None:
        """Embed a group, append it, and only then let its chunks be found."""
        texts = [searched_text(one)[0] for its in group.chunks.values() for one in its]
        if texts:
            vectors = await self._embed(texts)
            first = max(time.time_ns() // 1000, self._last.get(corpus, 0) + 1)
            await asyncio.to_thread(table.append, group.chunks, vectors, first)
            self._last[corpus] = first + len(texts)
        counts = {file: len(its) for file, its in group.chunks.items()}
        await _checked(self.check, group)
        await asyncio.to_thread(self._store.records.complete, corpus, counts)
        metrics.ingested_chunks_total.inc(len(texts))

    async def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (len(texts), width), a few calls at a time, sorted by length to pad little."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        calls = asyncio.Semaphore(CALLS)

        async def call(part: Sequence[int]) -> NDArray[np.float32]:
            async with calls:
                return await self._call([texts[i] for i in part])

        parts = [order[at : at + CALL_CHUNKS] for at in range(0, len(order), CALL_CHUNKS)]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(call(part)) for part in parts]
        rows = np.concatenate([task.result() for task in running])
        vectors = np.empty_like(rows)
        vectors[order] = rows
        return vectors

    async def _call(self, texts: list[str]) -> NDArray[np.float32]:
        """One call of the embedder, again and again while it is away or full."""
        for wait_s in (*RETRY_S, None):
            try:
                context = RequestContext(Deadline.after(CALL_S), batch=True)
                return (await self._embedding.embed(texts, context))[0]
            except RECOVERABLE:
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
        raise AssertionError

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
