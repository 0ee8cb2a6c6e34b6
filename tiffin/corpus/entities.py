"""What is known of a file, of a corpus, and of a file in a corpus. `records.py` stores them."""

import secrets
import time
from collections.abc import Mapping, Sequence
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
    """A corpus. `version` grows with every change; `active` is when it was last asked.

    `generation` is how often it was embedded anew, each time into another table.
    """

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
    generation: int = 0

    @property
    def table(self) -> str:
        """The name of the table that has its chunks."""
        return _table_of(self.id, self.generation)

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


def _table_of(corpus: str, generation: int) -> str:
    return f"{corpus}-{generation}" if generation else corpus


def owner(table: str) -> str:
    """The id of the corpus that a table belongs to."""
    return table.partition("-")[0]


def states_of(corpora: Sequence[Corpus]) -> str:
    """The state of all of them; empty without any."""
    return " ".join(sorted(corpus.state for corpus in corpora))


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
class Visible:
    """A file whose chunks may be found, and how many there are."""

    name: str
    attributes: dict[str, str | float | bool]
    chunks: int


@dataclass(frozen=True)
class Upkeep:
    """What was done to a corpus' table: when it was compacted, and how its index is asked.

    `probes` is None without an index of vectors; `recall` is what that finds of the exact ten.
    """

    compacted: int | None = None
    probes: int | None = None
    recall: float | None = None


@dataclass(frozen=True)
class Reembedding:
    """That a corpus is to be embedded by another model, into the table of its next generation.

    `asked` and `done` are in Unix seconds; it is not done while `done` is None.
    """

    corpus: str
    embedder: str
    generation: int
    asked: int
    done: int | None

    @property
    def table(self) -> str:
        """The name of the new table."""
        return _table_of(self.corpus, self.generation)


def new_id(kind: str) -> str:
    """An id that nobody can guess, such as `vs_...`."""
    return f"{kind}{secrets.token_hex(12)}"
