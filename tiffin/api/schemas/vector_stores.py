"""OpenAI's shape of a vector store, which is a corpus, and how our records become it."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from tiffin.core.values import Items, Value
from tiffin.corpus.entities import Corpus, Reembedding, Upkeep
from tiffin.corpus.table import Health

MAX_PAIRS = 16
MAX_BATCH = 2000

Key = Annotated[str, Field(max_length=64)]
Metadata = Annotated[dict[Key, Annotated[str, Field(max_length=512)]], Field(max_length=MAX_PAIRS)]
Attributes = Annotated[
    dict[Key, Annotated[str, Field(max_length=512)] | float | bool], Field(max_length=MAX_PAIRS)
]


class CorpusExpiry(Value):
    """When a vector store that nobody asks expires."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]


class Auto(Value):
    """The only chunking that there is: by structure, as large as the embedder reads."""

    type: Literal["auto"]


Chunking = Annotated[
    Auto | None,
    Field(
        description="Only `auto`: chunks follow the document's structure and are as large as the"
        " embedder reads."
    ),
]


class NewVectorStore(Value):
    """The body that creates a vector store: a corpus."""

    name: Annotated[str | None, Field(max_length=256)] = None
    description: Annotated[str | None, Field(max_length=512)] = None
    file_ids: Annotated[Items[str], Field(default_factory=list, max_length=MAX_BATCH)]
    expires_after: CorpusExpiry | None = None
    metadata: Metadata | None = None
    chunking_strategy: Chunking = None


class VectorStoreChange(Value):
    """What is to change of a vector store; what is left out stays."""

    name: Annotated[str | None, Field(max_length=256)] = None
    expires_after: CorpusExpiry | None = None
    metadata: Metadata | None = None


class FileCounts(Value):
    """How many files are in each state."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int = 0

    @classmethod
    def of(cls, states: Mapping[str, int]) -> "FileCounts":
        """From the count of each state."""
        return cls(**states, total=sum(states.values()))


class Progress(Value):
    """How far a vector store is embedded anew. Ours."""

    embedder: str
    asked_at: int
    chunks: Annotated[int, Field(description="Embedded so far.")]

    @classmethod
    def of(cls, one: Reembedding, chunks: int) -> "Progress":
        """From our record of it."""
        return cls(embedder=one.embedder, asked_at=one.asked, chunks=chunks)


class StoreHealth(Value):
    """How a vector store is on disk. Ours."""

    object: Literal["vector_store.health"] = "vector_store.health"
    id: str
    embedder: Annotated[str, Field(description="The model that made its vectors.")]
    server_embedder: Annotated[
        str,
        Field(description="The server's. If it is another, it is searched by words only."),
    ]
    reembedding: Annotated[
        Progress | None, Field(description="To another model; null if none is asked for.")
    ]
    chunks: int
    unindexed_chunks: Annotated[
        int, Field(description="Not in the index of words yet: found, but one by one.")
    ]
    fragments: Annotated[int, Field(description="Pieces, which compaction merges.")]
    version: int
    compacted_at: Annotated[int | None, Field(description="Unix seconds; null: never yet.")]
    vectors: Annotated[
        Literal["scanned", "indexed"],
        Field(description="Whether every vector is compared, or an index is asked."),
    ]
    index_recall: Annotated[
        float | None, Field(description="What that index finds of the exact ten nearest.")
    ]
    unindexed_vectors: Annotated[
        int | None, Field(description="Not in that index yet: found, but one by one.")
    ]

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        embedder: str,
        health: Health,
        done: Upkeep,
        reembedding: Progress | None,
    ) -> "StoreHealth":
        """From what the table says and what was done to it; `embedder` is the server's."""
        return cls(
            id=corpus.id,
            embedder=corpus.embedder,
            server_embedder=embedder,
            reembedding=reembedding,
            chunks=health.chunks,
            unindexed_chunks=health.unindexed,
            fragments=health.fragments,
            version=health.version,
            compacted_at=done.compacted,
            vectors="scanned" if done.probes is None else "indexed",
            index_recall=done.recall,
            unindexed_vectors=health.unindexed_vectors,
        )


class VectorStore(Value):
    """A vector store: a corpus."""

    id: str
    object: Literal["vector_store"] = "vector_store"
    created_at: int
    name: str
    description: str
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["expired", "in_progress", "completed"]
    expires_after: CorpusExpiry | None
    expires_at: int | None
    last_active_at: int
    metadata: dict[str, str]

    @classmethod
    def of(cls, corpus: Corpus, states: Mapping[str, int], used: int) -> "VectorStore":
        """Our record in OpenAI's shape."""
        days, status = corpus.expires_days, "expired" if corpus.is_expired else "completed"
        if status == "completed" and states.get("in_progress"):
            status = "in_progress"
        return cls.model_validate(
            {
                "id": corpus.id,
                "created_at": corpus.created,
                "name": corpus.name,
                "description": corpus.description,
                "usage_bytes": used,
                "file_counts": FileCounts.of(states),
                "status": status,
                "expires_after": days and CorpusExpiry(anchor="last_active_at", days=days),
                "expires_at": corpus.expires,
                "last_active_at": corpus.active,
                "metadata": corpus.metadata,
            }
        )
