"""Tables in an SQLite file, or in a PostgreSQL database that replicas share, by the same SQL.

The records of corpora (`tiffin.corpus.records`) and what Safety said of their chunks
(`tiffin.safety.verdicts`) are in one of them. `tiffin.core.postgres` is the other `Engine`.
"""

import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

BUSY_S = 5.0


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted, in the order of creation. `after` and `before` are ids."""

    after: str | None = None
    before: str | None = None
    limit: int = 20
    descending: bool = True


class Executes(Protocol):
    """What runs statements inside of a transaction."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Any:  # noqa: ANN401
        """A cursor, with `fetchall` and `rowcount`."""
        ...

    def executemany(self, statement: str, rows: Any, /) -> object:  # noqa: ANN401
        """The statement with each of these values."""
        ...


class Engine(Protocol):
    """Where tables are. It may be used from any thread."""

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows."""
        ...

    def transaction(self) -> AbstractContextManager[Executes]:
        """Be the only writer for the block: what is read in it holds until it ends."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class SqliteFile:
    """The file, opened, with these tables. `first` runs before anything else, in a transaction.

    Raises sqlite3.Error if it is damaged or locked for too long.
    """

    def __init__(
        self, path: Path, tables: str, first: Callable[[Executes], None] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(tables)
        if first is not None:
            with self.transaction() as db:
                first(db)

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows."""
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection, None, None]:
        """Be the only writer for the block."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


class Database:
    """The tables, wherever they are. Raises what the engine raises."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._read = engine.read
        self._transaction = engine.transaction

    def close(self) -> None:
        """Close the connection."""
        self._engine.close()

    def _write(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """Run all statements, or none."""
        with self._transaction() as db:
            for statement, values in statements:
                db.execute(statement, values)

    def _page(
        self,
        table: str,
        columns: str,
        where: str,
        values: Sequence[Any],
        page: Page,
        *,
        key: str = "id",
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
            f"SELECT {columns} FROM {table} WHERE {condition}"  # noqa: S608
            f" ORDER BY rowid {order} LIMIT ?",
            [*bounds, page.limit],
        )
