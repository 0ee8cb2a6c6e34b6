"""What the check for instructions said of chunks when they were stored, so that no question waits.

`tiffin.safety.guard` writes it while files are ingested, and reads it when chunks are found. A
verdict is kept by the SHA-256 of the text and of what it depends on (heads and rate). A text
without one, because it was stored before or Safety was away, is checked when it is found.

    FOLDER/verdicts.sqlite3    made by the first verdict
"""

import hashlib
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tiffin.core.messages import Checked
from tiffin.safety.heads import COMMANDS, INSTRUCTIONS, ORDERS, Head

BUSY_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, checked BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (file TEXT PRIMARY KEY, flagged INTEGER NOT NULL);
"""


class Verdicts:
    """Of one folder of corpora. Safe for threads and processes; raises sqlite3.Error if broken."""

    def __init__(self, folder: Path, false_positives: float) -> None:
        self._path = folder / "verdicts.sqlite3"
        heads = [Head.shipped(name).weights.tobytes() for name in (INSTRUCTIONS, ORDERS, COMMANDS)]
        self._mark = hashlib.sha256(b"".join(heads) + repr(false_positives).encode()).digest()
        self._db: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def known(self, texts: Sequence[str]) -> list[Checked | None]:
        """What was said of each text; None of one that was not checked. Some 20 us a text."""
        with self._lock:
            if self._db is None and not self._path.exists():
                return [None] * len(texts)
            asked = "SELECT checked FROM verdicts WHERE key = ?"
            rows = [self._opened().execute(asked, (self._key(one),)).fetchone() for one in texts]
        return [row and msgspec.msgpack.decode(row[0], type=Checked) for row in rows]

    def keep(self, said: Mapping[str, Checked], flagged: Mapping[str, int]) -> None:
        """Keep what was said of texts, and how many chunks of each file were flagged."""
        rows = [(self._key(text), msgspec.msgpack.encode(one)) for text, one in said.items()]
        with self._lock, self._opened() as db:
            db.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", rows)
            db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", flagged.items())

    def flagged(self, file: str) -> int | None:
        """How many chunks of a file hold instructions for the model; None if nobody looked."""
        with self._lock:
            if self._db is None and not self._path.exists():
                return None
            asked = "SELECT flagged FROM files WHERE file = ?"
            row = self._opened().execute(asked, (file,)).fetchone()
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
