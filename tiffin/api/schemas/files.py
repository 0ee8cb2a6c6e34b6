"""OpenAI's shapes of uploaded files, and how our records become them."""

from typing import Annotated, Literal

from pydantic import Field

from tiffin.core.values import Value
from tiffin.corpus.entities import File

Purpose = Literal["assistants", "user_data"]


class FileExpiry(Value):
    """When an uploaded file expires. Its chunks go with it."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


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


class FileListQuery(Value):
    """The query of the list of files."""

    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    purpose: str | None = None
