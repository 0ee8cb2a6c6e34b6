"""Everything about corpora that the entry service has, in one: `tiffin.composition` makes it."""

import asyncio
from collections.abc import Callable

from models.user_catalog import catalog_of
from tiffin.clients import EmbeddingClient
from tiffin.config.settings import Settings
from tiffin.corpus.entities import Corpus
from tiffin.corpus.ingest import Ingestion
from tiffin.corpus.parse import parser_of
from tiffin.corpus.prepare import Embedding, Preparer
from tiffin.corpus.reach import Reach, counts_of
from tiffin.corpus.reembed import Reembedder
from tiffin.corpus.search import Searcher
from tiffin.corpus.store import Store
from tiffin.corpus.upkeep import Keeper


def ingestion_of(
    store: Store, embedding: Embedding, reads: Callable[[], int], ocr: str | None = None
) -> Ingestion:
    """What works on a store in the background. `reads`: how many tokens the embedder reads."""
    prepare, keeper = Preparer(store, embedding, reads, parser_of(ocr)), Keeper(store)
    return Ingestion(store, prepare, keeper, Reembedder(store, prepare, keeper).work)


class Corpora:
    """The store, its searches and its ingestion."""

    def __init__(self, settings: Settings, embedding: EmbeddingClient) -> None:
        model = settings.embedding.model
        database = settings.corpora_database
        self.store = Store(settings.corpora_at(), model, settings.chunks, database)
        self.searcher = Searcher(self.store)
        self.ingestion = ingestion_of(
            self.store,
            embedding,
            lambda: catalog_of(settings.home).get(model).context_tokens,
            settings.ocr,
        )
        self._reach: Reach | None = None
        if self.store.shared is not None:
            self._reach = Reach(self.store, self.store.shared, self.ingestion.wake)

    def start(self) -> None:
        """Go on with what waits. Needs a running event loop."""
        if self._reach is not None:
            self._reach.start()  # which wakes the ingestion
        else:
            self.ingestion.start()

    async def stop(self) -> None:
        """Stop ingesting and close the files."""
        if self._reach is not None:
            await self._reach.stop()
        await self.ingestion.stop()
        self.store.close()

    async def drop(self, corpus: Corpus) -> None:
        """Delete a corpus; its files stay. Its chunks go when nobody writes them any more."""
        await asyncio.to_thread(self.store.records.drop_corpus, corpus.id)
        self.searcher.close(corpus.id)
        self.ingestion.wake()

    async def reembed(self, corpus: Corpus) -> None:
        """Have a corpus embedded by this server's embedder; nothing to do if it was."""
        records = self.store.records
        if corpus.embedder == self.store.embedder:
            await asyncio.to_thread(records.end_reembedding, corpus.id)
            return
        await asyncio.to_thread(records.ask_reembedding, corpus, self.store.embedder)
        self.ingestion.wake()

    def health(self) -> dict[str, int | None] | None:
        """How the tables of all corpora are together; None without corpora, or before a look."""
        keeper = self.ingestion.keeper
        if not keeper.health:
            return None
        every = keeper.health.values()
        return {
            "chunks": sum(health.chunks for health in every),
            "unindexed_chunks": sum(health.unindexed for health in every),
            "most_fragments": max(health.fragments for health in every),
            "compacted_at": keeper.compacted,
        }

    @property
    def away(self) -> str | None:
        """What cannot be reached of what replicas share, in one line."""
        return None if self._reach is None else self._reach.away

    def state(self) -> str | None:
        """`ready`, what is being done, or what is wrong; None without corpora."""
        if not self.store.exists:
            return None
        if trouble := self.away or self.ingestion.trouble:
            return trouble
        others, waiting = counts_of(self.store) if self._reach is None else self._reach.counts
        if others:
            return f"{others} of another embedder, searched by words only: tiffin corpus reembed"
        return f"ingesting {waiting} files" if waiting else "ready"
