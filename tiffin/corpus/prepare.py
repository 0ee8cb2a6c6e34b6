"""Makes chunks of a file and vectors of chunks, and appends them to a table.

Used by `ingest.py` and `reembed.py`. It is batch work: its calls of the embedder are small, so that
questions get between.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import RECOVERABLE
from tiffin.corpus.chunk import chunk
from tiffin.corpus.document import Chunk
from tiffin.corpus.entities import File, owner
from tiffin.corpus.parse import Parser
from tiffin.corpus.rows import GROUP_CHUNKS, searched_text
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.telemetry import metrics

CALL_CHUNKS = 8
CALLS = 3
"""In flight at once: enough that the embedder never waits, and a question waits for few."""

CALL_S = 60.0
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
HEADING_TOKENS = 32
"""Of the tokens that the embedder reads, those left for a chunk's headings."""


class Embedding(Protocol):
    """What is asked of the Embedding service."""

    async def embed(
        self, texts: Sequence[str], context: RequestContext
    ) -> tuple[NDArray[np.float32], int]:
        """Rows (len(texts), width) of length 1, and how many tokens were read."""
        ...

    async def count(self, texts: Sequence[str], context: RequestContext) -> list[int]:
        """The tokens of each text."""
        ...


class Preparer:
    """Reads, cuts and embeds. `reads` says how many tokens the embedder reads of a text."""

    def __init__(
        self, store: Store, embedding: Embedding, reads: Callable[[], int], parser: Parser
    ) -> None:
        self._store = store
        self._embedding = embedding
        self.reads = reads
        self._parser = parser

    async def close(self) -> None:
        """End the parser's process; the next file starts one."""
        await self._parser.close()

    async def append(self, table: Table, chunks: Mapping[str, Sequence[Chunk]]) -> int:
        """Embed the chunks of some files and append them as one version; how many there were."""
        vectors = await self.embed(chunks)
        await self.store(table, chunks, vectors)
        return len(vectors)

    async def embed(self, chunks: Mapping[str, Sequence[Chunk]]) -> NDArray[np.float32]:
        """The vectors (chunks, width) of the chunks of some files, in their order."""
        texts = [searched_text(one)[0] for its in chunks.values() for one in its]
        return await self._embed(texts) if texts else np.empty((0, 0), np.float32)

    async def store(
        self, table: Table, chunks: Mapping[str, Sequence[Chunk]], vectors: NDArray[np.float32]
    ) -> None:
        """Append chunks with their vectors as one version."""
        if len(vectors):
            await asyncio.to_thread(self._append, table, chunks, vectors)
            metrics.ingested_chunks_total.inc(len(vectors))

    def _append(
        self, table: Table, chunks: Mapping[str, Sequence[Chunk]], vectors: NDArray[np.float32]
    ) -> None:
        """Embedding may have taken minutes: look whether the corpus may still be written."""
        first = self._store.numbers(len(vectors))
        self._store.check_writing(owner(table.name))
        table.append(chunks, vectors, first)

    async def tokens(self, texts: Sequence[str]) -> int:
        """How many the longest of these texts has."""
        longest = 0
        for at in range(0, len(texts), GROUP_CHUNKS):
            context = RequestContext(Deadline.after(CALL_S), batch=True)
            counts = await self._embedding.count(texts[at : at + GROUP_CHUNKS], context)
            longest = max(longest, *counts)
        return longest

    async def cut(self, file: File) -> list[Chunk]:
        """The chunks of a file. Raises Unreadable."""
        data = await asyncio.to_thread(self._store.uploads.read, file.digest)
        limit = self.reads() - HEADING_TOKENS
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
