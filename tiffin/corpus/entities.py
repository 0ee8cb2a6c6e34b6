"""What is known of a file, of a corpus, and of a file in a corpus. `records.py` stores them."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Attributes = Mapping[str, str | float | bool]
State = Literal["in_progress", "completed", "failed", "cancelled"]
DAY_S = 86_400


@dataclass(frozen=True)
class File:
    """An uploaded file. Its bytes are stored once for each `digest` (SHA-256, hex)."""

    id: str
    tenant: str
    name: str
    media_type: str | None
    digest: str
    bytes: int
    purpose: str
    created: int
    expires: int | None


@dataclass(frozen=True)
class Corpus:
    """A corpus. `version` grows with every change; `active` is when it was last asked."""

    id: str
    tenant: str
    name: str
    description: str
    embedder: str
    metadata: dict[str, str]
    created: int
    active: int
    expires_days: int | None
    version: int

    @property
    def state(self) -> str:
        """Its id and version: as long as they are the same, so is what a search finds."""
        return f"{self.id} {self.version}"

    @property
    def expires(self) -> int | None:
        """When it expires unless it is asked before, in Unix seconds."""
        return None if self.expires_days is None else self.active + self.expires_days * DAY_S

    @property
    def is_expired(self) -> bool:
        """Whether nobody has asked it for so long that it has expired."""
        return self.expires is not None and self.expires <= time.time()


@dataclass(frozen=True)
class Member:
    """A file in a corpus, and how far its ingestion is."""

    corpus: str
    file: str
    state: State
    error_code: str | None = None
    error: str | None = None
    attributes: dict[str, str | float | bool] = field(default_factory=dict)
    batch: str | None = None
    chunks: int = 0
    bytes: int = 0
    created: int = 0


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted, in the order of creation. `after` and `before` are ids."""

    after: str | None = None
    before: str | None = None
    limit: int = 20
    descending: bool = True


def new_id(kind: str) -> str:
    """An id that nobody can guess, such as `vs_...`."""
    return f"{kind}{secrets.token_hex(12)}"
