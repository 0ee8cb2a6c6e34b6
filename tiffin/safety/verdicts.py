"""What the check for instructions said of chunks when they were stored, so that no question waits.

`tiffin.safety.guard` writes it while files are ingested, and reads it when chunks are found. A
verdict is kept by the SHA-256 of the text and of what it depends on (heads and rate). A text
without one, because it was stored before or Safety was away, is checked when it is found.

    FOLDER/verdicts.sqlite3    made by the first verdict

If replicas share corpora, they share verdicts in the same database.
"""

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tiffin.core.errors import Unavailable
from tiffin.core.messages import Checked
from tiffin.core.postgres import Postgres
from tiffin.safety.heads import COMMANDS, INSTRUCTIONS, ORDERS, Head

BUSY_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, checked BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (file TEXT PRIMARY KEY, flagged INTEGER NOT NULL);
"""


_KEEP = "INSERT OR REPLACE INTO verdicts (key, checked) VALUES (?, ?)"
_FLAG = "INSERT OR REPLACE INTO files (file, flagged) VALUES (?, ?)"
_FLAGGED = "SELECT flagged FROM files WHERE file = ?"


class Verdicts:
    """Of one folder of corpora. Safe for threads and processes; raises sqlite3.Error if broken."""

    def __init__(self, folder: Path, false_positives: float) -> None:
        self._path = folder / "verdicts.sqlite3"
        heads = [Head.shipped(name).weights.tobytes() for name in (INSTRUCTIONS, ORDERS, COMMANDS)]
        self._mark = hashlib.sha256(b"".join(heads) + repr(false_positives).encode()).digest()
        self._db: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    async def known(self, texts: Sequence[str]) -> list[Checked | None]:
        """What was said of each text; None of one that was not checked. Some 20 us a text."""
        with self._lock:
            if self._db is None and not self._path.exists():
                return [None] * len(texts)
            asked = "SELECT checked FROM verdicts WHERE key = ?"
            rows = [self._opened().execute(asked, (self._key(one),)).fetchone() for one in texts]
        return [row and msgspec.msgpack.decode(row[0], type=Checked) for row in rows]

    def keep(self, said: Mapping[str, Checked], flagged: Mapping[str, int]) -> None:
        """Keep what was said of texts, and how many chunks of each file were flagged."""
        with self._lock, self._opened() as db:
            db.executemany(_KEEP, self._rows(said))
            db.executemany(_FLAG, flagged.items())

    def flagged(self, file: str) -> int | None:
        """How many chunks of a file hold instructions for the model; None if nobody looked."""
        with self._lock:
            if self._db is None and not self._path.exists():
                return None
            row = self._opened().execute(_FLAGGED, (file,)).fetchone()
        return row and int(row[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
        return self._db

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(self._mark + text.encode("utf-8", "surrogatepass")).digest()

    def _rows(self, said: Mapping[str, Checked]) -> list[tuple[bytes, bytes]]:
        return [(self._key(text), msgspec.msgpack.encode(one)) for text, one in said.items()]


class SharedVerdicts(Verdicts):
    """Of a PostgreSQL database; while it is away, nothing is known. Raises Unavailable else."""

    def __init__(self, database: str, false_positives: float) -> None:
        super().__init__(Path(), false_positives)
        self._shared = Postgres(database, "tiffin_verdicts", _SCHEMA)

    async def known(self, texts: Sequence[str]) -> list[Checked | None]:
        """The same, asked in a thread and at once for all."""
        keys = [self._key(one) for one in texts]
        asked = f"SELECT key, checked FROM verdicts WHERE key IN ({', '.join('?' * len(keys))})"  # noqa: S608
        try:
            rows = await asyncio.to_thread(self._shared.read, asked, keys) if keys else []
        except Unavailable:
            rows = []
        said = {bytes(key): msgspec.msgpack.decode(one, type=Checked) for key, one in rows}
        return [said.get(key) for key in keys]

    def keep(self, said: Mapping[str, Checked], flagged: Mapping[str, int]) -> None:
        """The same."""
        with self._shared.transaction() as db:
            db.executemany(_KEEP, self._rows(said))
            db.executemany(_FLAG, flagged.items())

    def flagged(self, file: str) -> int | None:
        """The same."""
        rows = self._shared.read(_FLAGGED, (file,))
        return int(rows[0][0]) if rows else None

    def close(self) -> None:
        """Close the connection."""
        self._shared.close()
