"""Ingestion without a server, for tests that kill it.

`python -m tests.support.ingesting FOLDER [EMBEDDER [CHUNKS [DATABASE]]]` ingests what waits for
that embedder, and embeds anew what is to be; CHUNKS is an address of object storage, DATABASE one
that replicas share. The embedders are stand-ins
that hash words; the store, the parser and LanceDB are the real ones.
"""

import asyncio
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiffin.core.context import RequestContext
from tiffin.corpus.corpora import ingestion_of
from tiffin.corpus.entities import Corpus, File, Member, new_id
from tiffin.corpus.store import Store

WIDTH = 32
READS = 64
OTHER, OTHER_WIDTH = "other", 48
TENANT = "default"


class Hashing:
    """Counts words by their hash. Vectors of different widths cannot be compared."""

    def __init__(self, width: int) -> None:
        self._width = width

    async def embed(
        self, texts: Sequence[str], context: RequestContext
    ) -> tuple[NDArray[np.float32], int]:
        del context
        return vectors_of(texts, self._width), len(texts)

    async def count(self, texts: Sequence[str], context: RequestContext) -> list[int]:
        del context
        return [len(text.split()) for text in texts]


def vectors_of(texts: Sequence[str], width: int = WIDTH) -> NDArray[np.float32]:
    """Rows (len(texts), width) of length 1."""
    rows = np.zeros((len(texts), width), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().split():
            row[zlib.crc32(word.encode()) % width] += 1
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return rows


def queued(store: Store, documents: Mapping[str, str | bytes], corpus: str = "") -> Corpus:
    """A corpus with these documents waiting; or an earlier one, by its id, with more."""
    made = store.records.corpus(TENANT, corpus) if corpus else None
    if made is None:
        made = Corpus(new_id("vs_"), TENANT, "test", "", store.embedder, {}, 0, 0, None, 0)
        store.records.add_corpus(made)
    members = []
    for name, text in documents.items():
        data = text.encode() if isinstance(text, str) else text
        digest, size = store.save(iter([data]))
        file = File(new_id("file-"), TENANT, name, None, digest, size, "user_data", 0, None)
        store.records.add_file(file)
        members.append(Member(made.id, file.id, "in_progress", bytes=size))
    store.records.add_members(members)
    return made


async def ingest(
    store: Store, width: int = WIDTH, reads: int = READS, *, tidy: bool = False
) -> None:
    """Work until nothing waits for this store's embedder; and until tables are tidy."""
    ingestion = ingestion_of(store, Hashing(width), lambda: reads)
    ingestion.start()
    while store.records.waiting(store.embedder, 1) or _reembedding(store):
        if ingestion.trouble is not None:
            raise AssertionError(ingestion.trouble)
        await asyncio.sleep(0.02)
    ingestion.wake()
    await asyncio.sleep(0.2)
    while tidy and (ingestion.keeper.due() or ingestion.keeper.to_index()):
        ingestion.wake()
        await asyncio.sleep(0.05)
    await ingestion.stop()


def _reembedding(store: Store) -> bool:
    every = store.records.reembeddings()
    return any(one.done is None and one.embedder == store.embedder for one in every)


if __name__ == "__main__":
    folder, *given = sys.argv[1:]
    name = given[0] if given else "test"
    opened = Store(Path(folder), name, *given[1:])
    asyncio.run(ingest(opened, OTHER_WIDTH if name == OTHER else WIDTH))
