"""What the check for instructions said of chunks when they were stored, so that no question waits.

`tiffin.safety.guard` writes it while files are ingested, and reads it when chunks are found. A
verdict is kept by the SHA-256 of the text and of what it depends on (heads and rate). A text
without one, because it was stored before or Safety was away, is checked when it is found.

    FOLDER/verdicts.sqlite3    made by the first verdict
    tiffin_verdicts            a schema of the database, if replicas share corpora
"""

import asyncio
import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tiffin.core.database import Engine, SqliteFile
from tiffin.core.errors import Unavailable
from tiffin.core.messages import Checked
from tiffin.core.postgres import Postgres
from tiffin.safety.heads import COMMANDS, INSTRUCTIONS, ORDERS, Head

_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, checked BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (file TEXT PRIMARY KEY, flagged INTEGER NOT NULL);
"""
_KEEP = "INSERT OR REPLACE INTO verdicts (key, checked) VALUES (?, ?)"
_FLAG = "INSERT OR REPLACE INTO files (file, flagged) VALUES (?, ?)"
_FLAGGED = "SELECT flagged FROM files WHERE file = ?"


class Verdicts:
    """Of one folder of corpora, or of a database at `postgresql://`. Safe for threads, processes.

    Raises sqlite3.Error if the file is broken, and Unavailable if the database is away, when
    nothing is known.
    """

    def __init__(self, where: Path | str, false_positives: float) -> None:
        heads = [Head.shipped(name).weights.tobytes() for name in (INSTRUCTIONS, ORDERS, COMMANDS)]
        self._mark = hashlib.sha256(b"".join(heads) + repr(false_positives).encode()).digest()
        self._where = where
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    async def known(self, texts: Sequence[str]) -> list[Checked | None]:
        """What was said of each text; None of one that was not checked."""
        if not texts or self._is_empty():
            return [None] * len(texts)
        keys = [self._key(one) for one in texts]
        asked = f"SELECT key, checked FROM verdicts WHERE key IN ({', '.join('?' * len(keys))})"  # noqa: S608
        if isinstance(self._where, Path):  # a thread would take longer than the file, 20 us a text
            rows = self._opened().read(asked, keys)
        else:
            try:
                rows = await asyncio.to_thread(self._opened().read, asked, keys)
            except Unavailable:
                rows = []
        said = {bytes(key): msgspec.msgpack.decode(one, type=Checked) for key, one in rows}
        return [said.get(key) for key in keys]

    def keep(self, said: Mapping[str, Checked], flagged: Mapping[str, int]) -> None:
        """Keep what was said of texts, and how many chunks of each file were flagged."""
        rows = [(self._key(text), msgspec.msgpack.encode(one)) for text, one in said.items()]
        with self._opened().transaction() as db:
            db.executemany(_KEEP, rows)
            db.executemany(_FLAG, flagged.items())

    def flagged(self, file: str) -> int | None:
        """How many chunks of a file hold instructions for the model; None if nobody looked."""
        rows = [] if self._is_empty() else self._opened().read(_FLAGGED, (file,))
        return int(rows[0][0]) if rows else None

    def close(self) -> None:
        """Close the file or the connection."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def _is_empty(self) -> bool:
        """Whether nothing was kept in this folder yet: looking makes no file."""
        where = self._where
        return isinstance(where, Path) and self._engine is None and not _file(where).exists()

    def _opened(self) -> Engine:
        with self._lock:
            if self._engine is None:
                if isinstance(self._where, Path):
                    self._engine = SqliteFile(_file(self._where), _SCHEMA)
                else:
                    self._engine = Postgres(self._where, "tiffin_verdicts", _SCHEMA)
            return self._engine

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(self._mark + text.encode("utf-8", "surrogatepass")).digest()


def _file(folder: Path) -> Path:
    return folder / "verdicts.sqlite3"
