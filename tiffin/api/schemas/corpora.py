"""OpenAI's shapes of files and vector stores, and how our records become them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, field_validator

from tiffin.core.filters import Filter
from tiffin.core.values import Items, Value
from tiffin.corpus.entities import Corpus, File, Member
from tiffin.corpus.search import Hit

MAX_PAIRS = 16
MAX_RESULTS = 50
MAX_BATCH = 2000

Key = Annotated[str, Field(max_length=64)]
Metadata = Annotated[dict[Key, Annotated[str, Field(max_length=512)]], Field(max_length=MAX_PAIRS)]
Attributes = Annotated[
    dict[Key, Annotated[str, Field(max_length=512)] | float | bool], Field(max_length=MAX_PAIRS)
]
Purpose = Literal["assistants", "user_data"]
Status = Literal["in_progress", "completed", "failed", "cancelled"]


class CorpusExpiry(Value):
    """When a vector store that nobody asks expires."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]


class FileExpiry(Value):
    """When an uploaded file expires. Its chunks go with it."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


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


class NewMember(Value):
    """A file to put into a vector store."""

    file_id: str
    attributes: Attributes | None = None
    chunking_strategy: Chunking = None


class MemberChange(Value):
    """New attributes of a file in a vector store."""

    attributes: Attributes | None


class NewBatch(Value):
    """Files to put into a vector store together: `file_ids`, or `files` with their attributes."""

    file_ids: Annotated[Items[str], Field(default_factory=list, max_length=MAX_BATCH)]
    files: Annotated[Items[NewMember], Field(default_factory=list, max_length=MAX_BATCH)]
    attributes: Attributes | None = None
    chunking_strategy: Chunking = None

    def members(self) -> list[NewMember]:
        """One entry a file, whichever way they were given."""
        if self.files:
            return list(self.files)
        return [NewMember(file_id=id_, attributes=self.attributes) for id_ in self.file_ids]


class Weights(Value):
    """How much each half of the search counts."""

    embedding_weight: Annotated[float, Field(ge=0)]
    text_weight: Annotated[float, Field(ge=0)]


class Ranking(Value):
    """How results are ordered, and how good they must be."""

    ranker: Annotated[
        str | None,
        Field(description="`none` leaves the order of the search; any other reranks."),
    ] = None
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    hybrid_search: Weights | None = None


class VectorStoreQuery(Value):
    """The body of a search in a vector store."""

    query: str | Items[str]
    max_num_results: Annotated[int, Field(ge=1, le=MAX_RESULTS)] = 10
    filters: Filter | None = None
    ranking_options: Ranking | None = None
    rewrite_query: Annotated[
        bool, Field(description="Only `false`: a query is searched as it is asked.")
    ] = False

    @field_validator("query")
    @classmethod
    def _not_empty(cls, query: str | list[str]) -> str | list[str]:
        if not (query if isinstance(query, str) else " ".join(query)).strip():
            raise ValueError("it is empty")
        return query

    @property
    def text(self) -> str:
        """The query as one text."""
        return self.query if isinstance(self.query, str) else " ".join(self.query)


class FileObject(Value):
    """An uploaded file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, file: File) -> "FileObject":
        """Our record in OpenAI's shape."""
        return cls(
            id=file.id,
            bytes=file.bytes,
            created_at=file.created,
            expires_at=file.expires,
            filename=file.name,
            purpose=file.purpose,
        )


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


class LastError(Value):
    """Why a file could not be ingested."""

    code: Literal["server_error", "unsupported_file", "invalid_file"]
    message: str


class MemberObject(Value):
    """A file in a vector store."""

    id: str
    object: Literal["vector_store.file"] = "vector_store.file"
    created_at: int
    usage_bytes: int
    vector_store_id: str
    status: Status
    last_error: LastError | None
    attributes: dict[str, str | float | bool]
    chunks: Annotated[int, Field(description="Its chunks in the store. Ours.")]

    @classmethod
    def of(cls, member: Member) -> "MemberObject":
        """Our record in OpenAI's shape."""
        error = member.error and {"code": member.error_code, "message": member.error}
        return cls.model_validate(
            {
                "id": member.file,
                "created_at": member.created,
                "usage_bytes": member.bytes,
                "vector_store_id": member.corpus,
                "status": member.state,
                "last_error": error,
                "attributes": member.attributes,
                "chunks": member.chunks,
            }
        )


class Batch(Value):
    """Files that were put into a vector store together."""

    id: str
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: Status
    file_counts: FileCounts


class Deleted(Value):
    """What was deleted."""

    id: str
    object: str
    deleted: bool = True


class Content(Value):
    """A piece of text."""

    type: Literal["text"] = "text"
    text: str


class SearchResult(Value):
    """A chunk that was found, and where it is in its file."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Any]
    content: list[Content]
    page: Annotated[int | None, Field(description="Page, slide or sheet, from 1. Ours.")]
    headings: Annotated[list[str], Field(description="The headings above it. Ours.")]
    start: Annotated[int, Field(description="Where it starts in the file's text. Ours.")]
    end: int

    @classmethod
    def of(cls, hit: Hit, score: float) -> "SearchResult":
        """A hit in OpenAI's shape."""
        row = hit.row
        return cls(
            file_id=row.file,
            filename=hit.name,
            score=score,
            attributes=dict(hit.attributes),
            content=[Content(text=row.quote)],
            page=row.page,
            headings=list(row.headings),
            start=row.start,
            end=row.end,
        )


class SearchPage(Value):
    """What a search found, best first."""

    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[SearchResult]
    has_more: bool = False
    next_page: None = None


class TextPage(Value):
    """The text of a file in a vector store."""

    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"
    data: list[Content]
    has_more: bool = False
    next_page: None = None


Listed = TypeVar("Listed", bound=Value)


class Listing(Value, Generic[Listed]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[Listed]
    first_id: str | None
    last_id: str | None
    has_more: bool


def listing(items: Sequence[Any], limit: int) -> Listing[Any]:
    """A page of at most `limit` items, out of one more than that if there are more."""
    data = list(items[:limit])
    return Listing(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(items) > limit,
    )


class ListQuery(Value):
    """The query of a list."""

    after: str | None = None
    before: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    filter: Status | None = None


class FileListQuery(Value):
    """The query of the list of files."""

    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    purpose: str | None = None
