"""Ingestion without a server, for tests that kill it: `python -m tests.support.ingesting FOLDER`.

The embedder is a stand-in that hashes words; the store, the parser and LanceDB are the real ones.
"""

import asyncio
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiffin.clients import EmbeddingClient
from tiffin.core.context import RequestContext
from tiffin.corpus.entities import Corpus, File, Member, new_id
from tiffin.corpus.ingest import Ingestion
from tiffin.corpus.store import Store

WIDTH = 32
READS = 64
TENANT = "default"


class Hashing(EmbeddingClient):
    """Counts words by their hash."""

    def __init__(self) -> None:
        super().__init__("Embedding", "http://127.0.0.1:9")

    async def embed(
        self, texts: Sequence[str | list[int]], context: RequestContext, *, truncate: bool = True
    ) -> tuple[NDArray[np.float32], int]:
        del context, truncate
        return vectors_of([str(text) for text in texts]), len(texts)

    async def count(self, texts: Sequence[str], context: RequestContext) -> list[int]:
        del context
        return [len(text.split()) for text in texts]


def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """Rows (len(texts), WIDTH) of length 1."""
    rows = np.zeros((len(texts), WIDTH), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().split():
            row[zlib.crc32(word.encode()) % WIDTH] += 1
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return rows


def queued(store: Store, documents: dict[str, str], corpus: str = "") -> Corpus:
    """A corpus with these documents waiting; or an earlier one, by its id, with more."""
    made = store.records.corpus(TENANT, corpus) if corpus else None
    if made is None:
        made = Corpus(new_id("vs_"), TENANT, "test", "", store.embedder, {}, 0, 0, None, 0)
        store.records.add_corpus(made)
    members = []
    for name, text in documents.items():
        digest, size = store.save(iter([text.encode()]))
        file = File(new_id("file-"), TENANT, name, None, digest, size, "user_data", 0, None)
        store.records.add_file(file)
        members.append(Member(made.id, file.id, "in_progress", bytes=size))
    store.records.add_members(members)
    return made


async def ingest(store: Store) -> None:
    """Work until nothing waits."""
    ingestion = Ingestion(store, Hashing(), lambda: READS)
    ingestion.start()
    while store.records.totals().get("in_progress"):
        if ingestion.trouble is not None:
            raise AssertionError(ingestion.trouble)
        await asyncio.sleep(0.02)
    ingestion.wake()
    await asyncio.sleep(0.2)
    await ingestion.stop()


if __name__ == "__main__":
    opened = Store(Path(sys.argv[1]), "test")
    asyncio.run(ingest(opened))
