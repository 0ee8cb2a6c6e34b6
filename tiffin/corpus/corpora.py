"""Everything about corpora that the entry service has, in one: `tiffin.composition` makes it."""

import asyncio

from models.user_catalog import catalog_of
from tiffin.clients import EmbeddingClient
from tiffin.config.settings import Settings
from tiffin.corpus.entities import Corpus
from tiffin.corpus.ingest import Ingestion
from tiffin.corpus.search import Searcher
from tiffin.corpus.store import Store


class Corpora:
    """The store, its searches and its ingestion."""

    def __init__(self, settings: Settings, embedding: EmbeddingClient) -> None:
        model = settings.embedding.model
        self.store = Store(settings.corpora_at(), model)
        self.searcher = Searcher(self.store)
        self.ingestion = Ingestion(
            self.store, embedding, lambda: catalog_of(settings.home).get(model).context_tokens
        )

    def start(self) -> None:
        """Go on with what waits. Needs a running event loop."""
        self.ingestion.start()

    async def stop(self) -> None:
        """Stop ingesting and close the files."""
        await self.ingestion.stop()
        self.store.close()

    async def drop(self, corpus: Corpus) -> None:
        """Delete a corpus; its files stay. Its chunks go when nobody writes them any more."""
        await asyncio.to_thread(self.store.records.drop_corpus, corpus.id)
        self.searcher.close(corpus.id)
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

    def state(self) -> str | None:
        """`ready`, what is being done, or what is wrong; None without corpora."""
        if not self.store.exists:
            return None
        if self.ingestion.trouble is not None:
            return self.ingestion.trouble
        waiting = self.store.records.totals().get("in_progress", 0)
        return f"ingesting {waiting} files" if waiting else "ready"
