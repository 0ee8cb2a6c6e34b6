"""All corpora: their records, the bytes of files, and one table of chunks a corpus.

    records    whose, which, what state                        records.py
    files      bytes of uploads, once each                     uploads.py
    chunks     LanceDB, one table a corpus                     table.py
               and one more while it is embedded anew
    locks      one a corpus, and some for what is done alone
    layout     which layout and LanceDB wrote it               layout.py

They are in one folder, with the tables in it or on object storage, or in a database and on object
storage if replicas on several machines share them (`place.py`, `shared.py`).

Made by `tiffin.composition`. Nothing is created before the first upload or corpus, so that a Tiffin
without corpora pays nothing.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from filelock import Timeout

from tiffin.core.errors import InvalidRequest, NotFound
from tiffin.corpus.entities import Corpus, File, owner
from tiffin.corpus.lance import connect, names_of
from tiffin.corpus.place import Folder, Place
from tiffin.corpus.records import Records
from tiffin.corpus.shared import Shared
from tiffin.corpus.table import KEEP_VERSIONS, Table
from tiffin.corpus.uploads import Uploads

KEPT_S = KEEP_VERSIONS.total_seconds()
"""How long the table of a corpus that was embedded anew stays for the searches that read it."""


P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """All corpora of one place. `embedder` names the model that embeds for them.

    `chunks` is the address of object storage below which the tables are; None: in the folder.
    With a `database` nothing is in the folder, and uploads are on object storage too.
    """

    def __init__(
        self, folder: Path, embedder: str, chunks: str | None = None, database: str | None = None
    ) -> None:
        self.folder = folder
        self.shared = Shared(database, chunks) if database and chunks else None
        self._place: Place = self.shared or Folder(folder, chunks)
        self.embedder = embedder
        self._records: Records | None = None
        self._connection: Any = None
        self._tables: dict[str, Table] = {}
        self._lock = threading.RLock()

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored."""
        return self._records is not None or self._place.exists

    @property
    def records(self) -> Records:
        """The records; made with the folder at first use.

        Raises SettingsError for newer ones, and Unavailable if the folder cannot be made.
        """
        if self._records is not None:  # without the lock, which the first table holds for seconds
            return self._records
        with self._lock:
            if self._records is None:
                self._records = Records(self._place.open())
            return self._records

    async def ask(self, what: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Call what asks the records: in a thread, unless they are here, where it is faster."""
        if self.shared is None:
            return what(*given, **named)
        return await asyncio.to_thread(what, *given, **named)

    def table(self, name: str) -> Table:
        """The table of this name (`Corpus.table`). The first call imports LanceDB."""
        connection = self._connected()
        with self._lock:
            if name not in self._tables:
                self._tables[name] = Table(connection, name)
            return self._tables[name]

    def _connected(self) -> Any:  # noqa: ANN401  LanceDB carries no types
        if self._connection is None:
            _ = self.records
            tables = self._place.tables()  # may ask another machine, and holds nobody up
            with self._lock:
                self._connection = self._connection or connect(tables)
        return self._connection

    def alone(self, doing: str = "upkeep") -> AbstractContextManager[object]:
        """Be the only process that does this to any corpus, such as to compact or index it.

        Raises filelock.Timeout if another one does.
        """
        return self._place.alone(doing)

    def writing(self, corpus: str) -> AbstractContextManager[object]:
        """Be the only one that writes this corpus. Raises filelock.Timeout if another one does."""
        return self.alone(corpus)

    def check_writing(self, corpus: str) -> None:
        """Raise Unavailable if this process lost the lock that `writing` gave it."""
        self._place.check_alone(corpus)

    def numbers(self, count: int) -> int:
        """The first of so many numbers for new chunks."""
        return self._place.numbers(count)

    def clean(self) -> None:
        """Remove bytes and tables that nothing needs any more, if no process writes them."""
        self._place.sweep()
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
        if "://" not in (tables := self._place.tables()):
            return {path.stem for path in Path(tables).glob("*.lance")}
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
        return self._place.uploads.save(pieces)

    @property
    def uploads(self) -> Uploads:
        """The bytes of files, by their digest."""
        return self._place.uploads

    def remove(self, file: File) -> None:
        """Forget a file, in every corpus too; its chunks go when these are next compacted."""
        if self.records.drop_file(file):
            self._place.forget(file.digest)

    def close(self) -> None:
        """Close the records."""
        with self._lock:
            if self._records is not None:
                self._records.close()
                self._records = None
            if self.shared is not None:
                self.shared.close()
