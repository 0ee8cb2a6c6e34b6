"""Where corpora are: in a folder of this machine, or where replicas on several machines share them.

    folder    records.sqlite3, files/DIGEST, chunks/ (or object storage), locks/, layout.json
    shared    records and locks in PostgreSQL, files and chunks on object storage    shared.py

`store.py` chooses one and knows no more of it than `Place` says.
"""

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from tiffin.core.database import Engine
from tiffin.core.errors import Unavailable
from tiffin.corpus import layout, schema
from tiffin.corpus.uploads import FolderUploads, Uploads


class Place(Protocol):
    """What a store needs of where it is."""

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored, as far as can be said without asking anyone."""
        ...

    @property
    def uploads(self) -> Uploads:
        """The bytes of files."""
        ...

    def open(self) -> Engine:
        """Where the records are."""
        ...

    def tables(self) -> str:
        """The address of the tables, which LanceDB connects to. Blocks."""
        ...

    def alone(self, doing: str) -> AbstractContextManager[object]:
        """Be the only process that does this. Raises filelock.Timeout if another one does."""
        ...

    def check_alone(self, doing: str) -> None:
        """Raise Unavailable if this process, which did it alone, may not be alone any more."""
        ...

    def numbers(self, count: int) -> int:
        """The first of so many numbers in a row that no chunk has, above all earlier ones."""
        ...

    def forget(self, digest: str) -> None:
        """Remove bytes that no file has any more, now or later."""
        ...

    def sweep(self) -> None:
        """Remove what was left for later."""
        ...


class Folder:
    """A folder. `chunks` is the address of object storage below which the tables are, if any."""

    shared = False

    def __init__(self, folder: Path, chunks: str | None) -> None:
        self._folder = folder
        self._chunks = chunks
        self._tables = ""
        self._last = 0
        self.uploads = FolderUploads(folder / "files")

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored."""
        return (self._folder / "records.sqlite3").exists()

    def open(self) -> Engine:
        """Make the folder. Raises SettingsError for a newer one, and Unavailable if it cannot."""
        try:
            for name in ("files", "chunks", "locks"):
                (self._folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"no files or corpora are kept here: {self._folder}: {error.strerror}"
            raise Unavailable(message) from error
        self._tables = layout.opened(self._folder, self._chunks)
        return schema.records_file(self._folder / "records.sqlite3")

    def tables(self) -> str:
        """Known once it is open."""
        return self._tables

    def alone(self, doing: str) -> AbstractContextManager[object]:
        """A file lock, which ends with the process."""
        lock = FileLock(self._folder / "locks" / f"{doing}.lock", thread_local=False)
        return lock.acquire(blocking=False)

    def check_alone(self, doing: str) -> None:
        """A file lock cannot be lost."""

    def numbers(self, count: int) -> int:
        """Microseconds, because processes take turns and a turn is longer."""
        first = max(time.time_ns() // 1000, self._last + 1)
        self._last = first + count
        return first

    def forget(self, digest: str) -> None:
        """Remove the file."""
        self.uploads.remove(digest)

    def sweep(self) -> None:
        """Nothing is left for later."""
