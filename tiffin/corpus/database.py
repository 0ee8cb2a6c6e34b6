"""An SQLite file with the tables of corpora: reading, writing, and lists in pages.

`records.py` says what stands in it.
"""

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUSY_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, media_type TEXT,
    digest TEXT NOT NULL, bytes INTEGER NOT NULL, purpose TEXT NOT NULL,
    created INTEGER NOT NULL, expires INTEGER
);
CREATE INDEX IF NOT EXISTS files_by_digest ON files (digest);
CREATE TABLE IF NOT EXISTS corpora (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,
    embedder TEXT NOT NULL, metadata TEXT NOT NULL, created INTEGER NOT NULL,
    active INTEGER NOT NULL, expires_days INTEGER, version INTEGER NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS members (
    corpus TEXT NOT NULL, file TEXT NOT NULL, state TEXT NOT NULL, error_code TEXT, error TEXT,
    attributes TEXT NOT NULL, batch TEXT, chunks INTEGER NOT NULL, bytes INTEGER NOT NULL,
    created INTEGER NOT NULL, PRIMARY KEY (corpus, file)
);
CREATE INDEX IF NOT EXISTS members_by_state ON members (state);
CREATE INDEX IF NOT EXISTS members_by_file ON members (file);
CREATE TABLE IF NOT EXISTS upkeep (
    corpus TEXT PRIMARY KEY, compacted INTEGER, probes INTEGER, recall REAL
);
CREATE TABLE IF NOT EXISTS reembeddings (
    corpus TEXT PRIMARY KEY, embedder TEXT NOT NULL, generation INTEGER NOT NULL,
    asked INTEGER NOT NULL, done INTEGER
);
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, corpus TEXT NOT NULL, created INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted, in the order of creation. `after` and `before` are ids."""

    after: str | None = None
    before: str | None = None
    limit: int = 20
    descending: bool = True


class Database:
    """The file, opened. Raises sqlite3.Error if it is damaged or locked for too long."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA)
        self._upgrade()

    def _upgrade(self) -> None:
        """Add what layout 1 did not have."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            columns = {row[1] for row in self._db.execute("PRAGMA table_info(corpora)")}
            if "generation" not in columns:
                added = "ALTER TABLE corpora ADD COLUMN generation INTEGER NOT NULL DEFAULT 0"
                self._db.execute(added)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def _write(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """Run all statements, or none."""
        with self._lock, self._db:
            for statement, values in statements:
                self._db.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        """Be the only writer for the block: what is read in it holds until it ends."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def _page(
        self, table: str, key: str, where: str, values: Sequence[Any], page: Page
    ) -> list[tuple[Any, ...]]:
        """Rows of a table in the order in which they came. All names are ours."""
        condition, bounds = where, list(values)
        for cursor, forward in ((page.after, True), (page.before, False)):
            if cursor is not None:
                sign = "<" if page.descending == forward else ">"
                at = f"(SELECT rowid FROM {table} WHERE {key} = ? AND {where})"  # noqa: S608
                condition, bounds = f"{condition} AND rowid {sign} {at}", [*bounds, cursor, *values]
        order = "DESC" if page.descending else "ASC"
        return self._read(
            f"SELECT * FROM {table} WHERE {condition} ORDER BY rowid {order} LIMIT ?",  # noqa: S608
            [*bounds, page.limit],
        )
