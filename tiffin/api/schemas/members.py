"""OpenAI's shapes of files in a vector store, and of batches of them."""

from typing import Annotated, Literal

from pydantic import Field

from tiffin.api.schemas.lists import Status
from tiffin.api.schemas.search import Content
from tiffin.api.schemas.vector_stores import MAX_BATCH, Attributes, Chunking, FileCounts
from tiffin.core.values import Items, Value
from tiffin.corpus.entities import Member


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
    flagged_chunks: Annotated[
        int | None,
        Field(
            description="Its chunks with instructions aimed at the model; null if they were not"
            " checked when they were stored. Ours."
        ),
    ]

    @classmethod
    def of(cls, member: Member, flagged: int | None) -> "MemberObject":
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
                "flagged_chunks": flagged,
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


class TextPage(Value):
    """The text of a file in a vector store."""

    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"
    data: list[Content]
    has_more: bool = False
    next_page: None = None
