"""The folder of all corpora: their records, the bytes of files, and one table of chunks a corpus.

    FOLDER/records.sqlite3     whose, which, what state       records.py
    FOLDER/files/DIGEST        bytes of uploads, once each
    FOLDER/chunks/             LanceDB, one table a corpus    table.py
                               and one more while it is embedded anew
    FOLDER/locks/              one file lock a corpus
    FOLDER/layout.json         which layout and LanceDB wrote it    layout.py

The tables may be on object storage instead, with everything else in the folder, which is local:
SQLite and file locks want that.

Made by `tiffin.composition`. Nothing is created before the first upload or corpus, so that a Tiffin
without corpora pays nothing.
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tiffin.core.errors import InvalidRequest, NotFound, Unavailable
from tiffin.corpus.entities import Corpus, File, owner
from tiffin.corpus.layout import opened
from tiffin.corpus.records import Records
from tiffin.corpus.table import KEEP_VERSIONS, Table, connect, names_of

KEPT_S = KEEP_VERSIONS.total_seconds()
"""How long the table of a corpus that was embedded anew stays for the searches that read it."""


class Store:
    """All corpora of one folder. `embedder` names the model that embeds for them.

    `chunks` is the address of object storage below which the tables are; None: in the folder.
    """

    def __init__(self, folder: Path, embedder: str, chunks: str | None = None) -> None:
        self.folder = folder
        self._chunks = chunks
        self._tables_at = ""
        self.embedder = embedder
        self._records: Records | None = None
        self._connection: Any = None
        self._tables: dict[str, Table] = {}
        self._lock = threading.RLock()

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored."""
        return self._records is not None or (self.folder / "records.sqlite3").exists()

    @property
    def records(self) -> Records:
        """The records; made with the folder at first use.

        Raises SettingsError for newer ones, and Unavailable if the folder cannot be made.
        """
        with self._lock:
            if self._records is None:
                try:
                    for name in ("files", "chunks", "locks"):
                        (self.folder / name).mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    message = f"no files or corpora are kept here: {self.folder}: {error.strerror}"
                    raise Unavailable(message) from error
                self._tables_at = opened(self.folder, self._chunks)
                self._records = Records(self.folder / "records.sqlite3")
            return self._records

    def table(self, name: str) -> Table:
        """The table of this name (`Corpus.table`). The first call imports LanceDB."""
        with self._lock:
            if name not in self._tables:
                self._tables[name] = Table(self._connected(), name)
            return self._tables[name]

    def _connected(self) -> Any:  # noqa: ANN401  LanceDB carries no types
        with self._lock:
            _ = self.records
            if self._connection is None:
                self._connection = connect(self._tables_at)
            return self._connection

    def alone(self, doing: str = "upkeep") -> AbstractContextManager[object]:
        """Be the only process that does this to any corpus, such as to compact or index it.

        Raises filelock.Timeout if another one does.
        """
        lock = FileLock(self.folder / "locks" / f"{doing}.lock", thread_local=False)
        return lock.acquire(blocking=False)

    def writing(self, corpus: str) -> AbstractContextManager[object]:
        """Be the only one that writes this corpus. Raises filelock.Timeout if another one does."""
        return self.alone(corpus)

    def clean(self) -> None:
        """Remove tables that no corpus needs any more, if no process writes them."""
        for name in self._unneeded():
            with suppress(Timeout), self.writing(owner(name)):
                if name in self._unneeded():
                    self.table(name).drop()
                    with self._lock:
                        self._tables.pop(name, None)

    def _unneeded(self) -> set[str]:
        """Tables of corpora that are gone or expired, or were embedded anew some time ago."""
        stored = self._stored()
        needed = {one.table for one in self.records.all_corpora() if not one.is_expired}
        for one in self.records.reembeddings():
            if one.done is None:
                needed.add(one.table)
            elif one.done > time.time() - KEPT_S:
                needed.update(name for name in stored if owner(name) == one.corpus)
        return stored - needed

    def _stored(self) -> set[str]:
        """The names of all tables. In a folder they are seen without LanceDB."""
        _ = self.records
        if self._chunks is None:
            return {path.stem for path in Path(self._tables_at).glob("*.lance")}
        return set(names_of(self._connected()))

    def find(self, tenant: str, reference: str) -> Corpus:
        """A tenant's corpus by id or name.

        Raises NotFound, and InvalidRequest for a name that several have or an expired corpus.
        """
        found = self.corpus_of(tenant, reference)
        if found.is_expired:
            message = f"corpus: {reference!r} has expired; upload its files into a new one"
            raise InvalidRequest(message, param="corpus", code="corpus_expired")
        return found

    def corpus_of(self, tenant: str, reference: str) -> Corpus:
        """The same, whatever its state. Raises NotFound, or InvalidRequest if several match."""
        if self.exists:
            if (by_id := self.records.corpus(tenant, reference)) is not None:
                return by_id
            named = self.records.named(tenant, reference)
            if len(named) == 1:
                return named[0]
            if named:
                ids = ", ".join(one.id for one in named)
                message = f"corpus: {len(named)} are named {reference!r}; use an id: {ids}"
                raise InvalidRequest(message, param="corpus", code="ambiguous_name")
        message = f"corpus: there is none named {reference!r}; GET /v1/vector_stores lists them"
        raise NotFound(message, param="corpus", code="corpus_not_found")

    def file_of(self, tenant: str, id_: str) -> File:
        """A tenant's file. Raises NotFound."""
        found = self.records.file(tenant, id_) if self.exists else None
        if found is None:
            message = f"file_id: there is no file {id_!r}; GET /v1/files lists them"
            raise NotFound(message, param="file_id", code="file_not_found")
        return found

    def save(self, pieces: Iterator[bytes]) -> tuple[str, int]:
        """Store bytes; their SHA-256 and length. The same bytes are stored once."""
        _ = self.records
        part = self.folder / "files" / f"{os.urandom(8).hex()}.part"
        digest, size = hashlib.sha256(), 0
        try:
            with part.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                    digest.update(piece)
                    size += len(piece)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.content(digest.hexdigest()))
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def content(self, digest: str) -> Path:
        """Where the bytes with this digest are."""
        return self.folder / "files" / digest

    def remove(self, file: File) -> None:
        """Forget a file, in every corpus too; its chunks go when these are next compacted."""
        if self.records.drop_file(file):
            self.content(file.digest).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the records."""
        with self._lock:
            if self._records is not None:
                self._records.close()
                self._records = None
