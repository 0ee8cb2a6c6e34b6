"""Where the ledger's rows are stored: an SQLite file, or a PostgreSQL database for all replicas.

Both are used through Python's DB-API with the same SQL; their differences are handled here. The
PostgreSQL driver is imported only if the address is `postgresql://`.
"""

import datetime as dt
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ModelError
from tiffin.core.postgres import DRIVER, POSTGRES, connect, driver, line_of

DAY_S = 86_400
BUSY_S = 5.0
"""How long to wait for the lock on the file."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    request_id TEXT NOT NULL, number INTEGER NOT NULL, at {real} NOT NULL, day TEXT NOT NULL,
    tenant TEXT NOT NULL, key TEXT NOT NULL, policy TEXT NOT NULL,
    tier TEXT NOT NULL, model TEXT NOT NULL, provider TEXT NOT NULL, outcome TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, usd {real} NOT NULL, strongest_usd {real} NOT NULL,
    estimated INTEGER NOT NULL, ttft_ms {real}, seconds {real} NOT NULL,
    PRIMARY KEY (request_id, number, at)
){without_rowid};
CREATE INDEX IF NOT EXISTS attempts_by_day ON attempts (day, tenant, key, tier);
CREATE TABLE IF NOT EXISTS decisions (
    request_id TEXT NOT NULL, at {real} NOT NULL, record {blob} NOT NULL,
    PRIMARY KEY (request_id, at)
){without_rowid};
"""
_SQLITE = _SCHEMA.format(real="REAL", blob="BLOB", without_rowid=" WITHOUT ROWID")
_LIMITS = """
CREATE UNLOGGED TABLE IF NOT EXISTS limits (
    name TEXT PRIMARY KEY, level DOUBLE PRECISION NOT NULL, seen DOUBLE PRECISION NOT NULL
);
"""
"""What is left of the minute limits of keys (`tiffin.routing.limits`)."""

_POSTGRES = _SCHEMA.format(real="DOUBLE PRECISION", blob="BYTEA", without_rowid="") + _LIMITS
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(7310117)"
"""Lock that keeps two replicas that start at once from both creating the tables."""

Statement = tuple[str, Sequence[Any]]


class LedgerError(ModelError):
    """The ledger cannot be opened or read."""


@dataclass(frozen=True)
class Storage:
    """One connection, for one thread at a time. `shared` means that other hosts write there too."""

    where: str
    connection: Any
    mark: str
    errors: tuple[type[Exception], ...]
    shared: bool

    def write(self, statements: Iterable[Statement]) -> None:
        """Run all statements, or none. Raises one of `errors`."""
        cursor = self.connection.cursor()
        try:
            for statement, values in statements:
                cursor.execute(statement.replace("?", self.mark), values)
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows. Raises LedgerError."""
        try:
            cursor = self.connection.cursor()
            cursor.execute(statement.replace("?", self.mark), values)
            rows = [tuple(row) for row in cursor.fetchall()]
            self.connection.commit()
        except self.errors as error:
            raise LedgerError(
                f"the ledger {self.where} cannot be read: {line_of(error)}"
            ) from error
        return rows

    def close(self) -> None:
        """Close the connection, even if it is broken."""
        with suppress(*self.errors):
            self.connection.close()


def open_storage(where: str | Path) -> Storage:
    """Open the storage at that path or address; create its tables if needed. Raises LedgerError."""
    return _postgres(str(where)) if str(where).startswith(POSTGRES) else _sqlite(Path(where))


def open_existing(where: str | Path) -> Storage:
    """The same for commands that only look back: a file that is not there stays so."""
    if not str(where).startswith(POSTGRES) and not Path(where).exists():
        message = f"there is no ledger at {where}: a server makes it with its first start"
        raise LedgerError(f"{message}; --ledger or TIFFIN_ROUTING__LEDGER name another one")
    return open_storage(where)


def forget_before(storage: Storage, first: dt.date) -> tuple[int, int]:
    """Delete rows of earlier UTC days; how many attempts and decisions these were.

    Each day is a transaction of its own, so that a server that writes does not wait long. Raises
    LedgerError.
    """
    midnight = dt.datetime.combine(first, dt.time(), dt.UTC).timestamp()
    days = storage.read(
        "SELECT day, COUNT(*) FROM attempts WHERE day < ? GROUP BY day ORDER BY day",
        (first.isoformat(),),
    )
    (decisions, oldest), *_ = storage.read(
        "SELECT COUNT(*), MIN(at) FROM decisions WHERE at < ?", (midnight,)
    )
    until = [] if oldest is None else [*range(int(oldest), int(midnight), DAY_S), midnight]
    try:
        for day, _ in days:
            storage.write([("DELETE FROM attempts WHERE day = ?", (day,))])
        for end in until:
            storage.write([("DELETE FROM decisions WHERE at < ?", (end,))])
    except storage.errors as error:
        message = f"the ledger {storage.where} cannot be changed: {line_of(error)}"
        raise LedgerError(message) from error
    return sum(int(count) for _, count in days), int(decisions)


def _sqlite(path: Path) -> Storage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The connection is made here, and afterwards only the writer thread uses it.
        connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SQLITE)
    except (sqlite3.Error, OSError) as error:
        message = f"the ledger {path} cannot be opened: {error}; set TIFFIN_ROUTING__LEDGER"
        raise LedgerError(message) from error
    return Storage(str(path), connection, "?", (sqlite3.Error,), shared=False)


def _postgres(url: str) -> Storage:
    try:
        errors = (driver().Error, OSError)
    except ImportError as error:
        message = f"the ledger {url} needs the PostgreSQL driver: {DRIVER}"
        raise LedgerError(message) from error
    try:
        connection = connect(url)
        books = Storage(url, connection, "%s", errors, shared=True)
        tables = [part for part in _POSTGRES.split(";") if part.strip()]
        books.write((statement, ()) for statement in (_ONE_AT_A_TIME, *tables))
    except (*errors, ValueError) as error:
        message = f"the ledger {url} cannot be opened: {line_of(error)}; see TIFFIN_ROUTING__LEDGER"
        raise LedgerError(message) from error
    return books
