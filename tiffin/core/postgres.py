"""A PostgreSQL database that replicas share: its address, its driver, and one connection to it.

The ledger (`tiffin.routing.storage`) connects by itself. Corpora (`tiffin.corpus.shared`) and
verdicts (`tiffin.safety.verdicts`) use `Postgres`, which understands the SQL that they give SQLite.
"""

import hashlib
import importlib
import logging
import math
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

from tiffin.core.errors import Unavailable

logger = logging.getLogger(__name__)

POSTGRES = "postgresql://"
PASSWORD_VARIABLE = "PGPASSWORD"  # noqa: S105  where it is, not what
DRIVER = "pip install 'tiffin[postgres]'"
PORT = 5432
TIMEOUT_S = 5.0
"""How long the database may take to answer."""
AWAY_S = 1.0
"""After a failure everything is refused for so long, so that nobody waits for one timeout each."""

_SESSION = """
SET search_path TO {schema}; SET lock_timeout = '4s';
SET idle_in_transaction_session_timeout = '10s';
SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3
"""
"""A machine that is gone without a word loses its locks after 20 s, not after hours."""

_PASSING = frozenset({"08", "25", "28", "3D", "40", "53", "55", "57"})
"""Classes of errors that are about the server and its state, and not about a statement."""
_REPLACE = re.compile(r"\s*INSERT OR REPLACE INTO (\w+) \(([\w, ]+)\)\s+(.*)", re.DOTALL)


def connect(url: str) -> Any:  # noqa: ANN401  the driver is imported by its name
    """A connection. Raises ImportError, ValueError for an invalid address, and the driver's."""
    parts = urlsplit(url)
    mode = parse_qs(parts.query).get("sslmode", ["disable"])[0]
    if mode not in {"disable", "verify-full"}:
        raise ValueError(f"sslmode {mode!r} is neither disable nor verify-full")
    return driver().connect(
        user=unquote(parts.username or "") or os.environ.get("PGUSER", "postgres"),
        password=os.environ.get(PASSWORD_VARIABLE),
        host=parts.hostname or "127.0.0.1",
        port=parts.port or PORT,
        database=parts.path.lstrip("/") or None,
        timeout=TIMEOUT_S,
        ssl_context=ssl.create_default_context() if mode == "verify-full" else None,
    )


def driver() -> Any:  # noqa: ANN401
    """The driver's module. Raises ImportError if it is not installed."""
    return importlib.import_module("pg8000.dbapi")


def line_of(error: Exception) -> str:
    """The error in one line. The database sends fields, of which M is the message."""
    fields = error.args[0] if error.args else ""
    return str(fields["M"] if isinstance(fields, dict) and "M" in fields else error)


def lock_key(name: str) -> int:
    """The number by which advisory locks know this name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


class Postgres:
    """One schema of a database, through one connection at which threads take turns.

    `tables` is SQL as SQLite reads it. It and `first` run in one transaction before anything else.
    Nothing is connected before it is needed. Raises Unavailable while the database is away; a
    connection that died in between is made anew.
    """

    def __init__(
        self, url: str, schema: str, tables: str, first: Callable[["Postgres"], None] | None = None
    ) -> None:
        self._url = url
        self._schema = schema
        self._tables = tables
        self._first = first
        self._driver = driver()
        self._errors: tuple[type[Exception], ...] = (self._driver.Error, OSError)
        self._connection: Any = None
        self._turn = threading.RLock()
        self._prepared = False
        self._away_until = 0.0
        self.connections = 0
        """How many were made: what the session held is lost when this grows."""

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows."""
        with self._turn:
            return [tuple(row) for row in self._begun(statement, values).fetchall()]

    @contextmanager
    def transaction(self) -> Generator["Postgres", None, None]:
        """Be the only writer of this schema for the block, on any machine, as in an SQLite file.

        With one writer at a time, no two of them can wait for each other's rows.
        """
        with self._turn:
            self._begun("BEGIN")
            try:
                self.execute("SELECT pg_advisory_xact_lock(?)", (lock_key(self._schema),))
                yield self
                self.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, self._errors):
                    self._fail(error)
                raise

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:  # noqa: ANN401
        """Run a statement inside of `transaction`, where nothing else is called; its cursor."""
        cursor = self._connected().cursor()
        cursor.execute(translated(statement), values)
        return cursor

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """The same statement with each of these values."""
        for values in rows:
            self.execute(statement, values)

    def close(self) -> None:
        """Close the connection for good: threads that still work find the database away."""
        with self._turn:
            self._away_until = math.inf
            self._drop()

    def _drop(self) -> None:
        """Close the connection, even if it is broken; the next call makes another one."""
        with self._turn, suppress(*self._errors):
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _begun(self, statement: str, values: Sequence[Any] = ()) -> Any:  # noqa: ANN401
        """Run a first statement, once more if the connection died since it was last used."""
        was_open = self._connection is not None
        try:
            return self.execute(statement, values)
        except self._errors as error:
            self._drop()
            if not was_open:
                self._fail(error)
        try:
            return self.execute(statement, values)
        except self._errors as error:
            self._drop()
            self._fail(error)

    def _connected(self) -> Any:  # noqa: ANN401
        if self._connection is None:
            if time.monotonic() < self._away_until:
                raise Unavailable(self._away)
            connection = self._connection = connect(self._url)
            try:
                connection.autocommit = True
                connection.execute_simple(_SESSION.format(schema=self._schema))
                self.connections += 1
                if not self._prepared:
                    self._prepare()
            except BaseException:
                self._drop()
                raise
        return self._connection

    def _prepare(self) -> None:
        with self.transaction() as db:
            exists = "SELECT 1 FROM pg_namespace WHERE nspname = ?"
            if not db.execute(exists, (self._schema,)).fetchall():
                db.execute(f"CREATE SCHEMA {self._schema}")
            for statement in filter(str.strip, self._tables.split(";")):
                db.execute(_table(statement))
            if self._first is not None:
                self._first(db)
        self._prepared = True

    def _roll_back(self) -> None:
        try:
            if self._connection is not None:
                self.execute("ROLLBACK")
        except self._errors:
            self._drop()

    @property
    def _away(self) -> str:
        return f"the database of {self._schema.removeprefix('tiffin_')} is away"

    def _fail(self, error: Exception) -> NoReturn:
        """Raise what the error amounts to; that the database is away is in the log only once."""
        fields = error.args[0] if error.args else None
        if isinstance(fields, dict) and fields.get("C", "")[:2] not in _PASSING:
            raise error
        if time.monotonic() > self._away_until + TIMEOUT_S:
            logger.warning("%s: %s: %s", self._url, self._away, line_of(error))
        self._away_until = max(self._away_until, time.monotonic() + AWAY_S)
        raise Unavailable(self._away) from error


@cache
def translated(statement: str) -> str:
    """What SQLite understands, as the driver and PostgreSQL do.

    A row that replaces another one gets a new `rowid`, as in SQLite.
    """
    if found := _REPLACE.fullmatch(statement):
        table, columns, rest = found.groups()
        taken = ", ".join(f"{name} = excluded.{name}" for name in columns.split(", "))
        statement = (
            f"INSERT INTO {table} ({columns}) {rest.rstrip()}"
            f" ON CONFLICT ON CONSTRAINT {table}_pkey DO UPDATE SET {taken}, rowid = DEFAULT"
        )
    return statement.replace("?", "%s")


def _table(statement: str) -> str:
    """A table, or an index, with the types of PostgreSQL and SQLite's hidden column."""
    statement = statement.strip()
    for theirs, ours in (("INTEGER", "BIGINT"), ("REAL", "DOUBLE PRECISION"), ("BLOB", "BYTEA")):
        statement = re.sub(rf"\b{theirs}\b", ours, statement)
    if statement.startswith("CREATE TABLE"):
        body = statement.removesuffix("WITHOUT ROWID").rstrip().removesuffix(")")
        statement = f"{body}, rowid BIGINT GENERATED ALWAYS AS IDENTITY)"
    return statement
