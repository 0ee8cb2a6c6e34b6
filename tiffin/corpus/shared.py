"""Corpora that replicas on several machines share. `store.py` uses it if the settings name both.

Records and locks are in a PostgreSQL database, in the schema `tiffin_corpora`; the bytes of uploads
and the tables of chunks are on object storage. Nothing is kept on the machine itself.

A lock is an advisory lock of a session: the database lets go of it when the process that holds it
dies. A process that lost its session finds out before it writes chunks (`check_alone`).
"""

import secrets
import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import version as version_of

from filelock import Timeout

from tiffin.config.section import SettingsError
from tiffin.core.errors import Unavailable
from tiffin.core.postgres import DRIVER, Postgres, driver, lock_key
from tiffin.corpus.layout import LAYOUT, Layout, check_age
from tiffin.corpus.schema import SCHEMA
from tiffin.corpus.uploads import ObjectUploads

_NAME = "tiffin_corpora"
_SCHEMA = f"""{SCHEMA}
CREATE TABLE IF NOT EXISTS layout (
    one INTEGER PRIMARY KEY, layout INTEGER NOT NULL, lancedb TEXT NOT NULL, tables TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS numbers (one INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS unused (digest TEXT PRIMARY KEY, since INTEGER NOT NULL);
"""
_STAMP = "INSERT OR REPLACE INTO layout (one, layout, lancedb, tables) VALUES (1, ?, ?, ?)"
_NUMBERS = """
INSERT INTO numbers (one, last) VALUES (1, ?) ON CONFLICT (one)
DO UPDATE SET last = GREATEST(numbers.last, excluded.last - ?) + ? RETURNING last
"""
_UNUSED = "INSERT OR REPLACE INTO unused (digest, since) VALUES (?, ?)"
_USED = "DELETE FROM unused WHERE digest IN (SELECT digest FROM files)"
_OLD = "SELECT digest FROM unused WHERE since <= ? LIMIT 10"

UNUSED_S = 600
"""How long bytes stay that no file has any more: longer than an upload of the same ones takes."""


def check_driver(database: str | None) -> None:
    """Raise SettingsError if there is a database and its driver is not installed."""
    if database is not None:
        try:
            driver()
        except ImportError as error:
            message = f"TIFFIN_CORPORA: {database} needs the PostgreSQL driver: {DRIVER}"
            raise SettingsError(message) from error


class Shared:
    """A database, and an address of object storage. Raises SettingsError without the driver."""

    shared = True
    exists = True

    def __init__(self, database: str, address: str) -> None:
        self._address = address
        self._tables = ""
        check_driver(database)
        self._database = Postgres(database, _NAME, _SCHEMA, self._stamp)
        self._locks = _Locks(database)
        self.uploads = ObjectUploads(self.tables, self._claim)

    def open(self) -> Postgres:
        """Where the records are; nothing is connected yet."""
        return self._database

    def tables(self) -> str:
        """What the database says, so that all replicas read the same ones."""
        if not self._tables:
            self._database.read("SELECT 1")
        return self._tables

    def alone(self, doing: str) -> AbstractContextManager[object]:
        """An advisory lock."""
        return self._locks.acquire(doing)

    def check_alone(self, doing: str) -> None:
        """Ask the session that has the lock."""
        self._locks.check(doing)

    def numbers(self, count: int) -> int:
        """Of a counter that follows the clocks: those of two machines do not agree."""
        with self._database.transaction() as db:
            until = time.time_ns() // 1000 + count
            ((last,),) = db.execute(_NUMBERS, (until, count, count)).fetchall()
        return int(last) - count + 1

    def forget(self, digest: str) -> None:
        """Note that no file has these bytes; `sweep` removes them, also if storage is away now."""
        with self._database.transaction() as db:
            db.execute(_UNUSED, (digest, int(time.time())))

    def _claim(self, digest: str) -> None:
        """Keep bytes that are about to be stored again."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM unused WHERE digest = ?", (digest,))

    def sweep(self) -> None:
        """Remove bytes that no file has for some time. Nobody can claim them meanwhile."""
        old = int(time.time()) - UNUSED_S
        if not self._database.read(_OLD, (old,)):
            return
        with self._database.transaction() as db:
            db.execute(_USED)
            for (digest,) in db.execute(_OLD, (old,)).fetchall():
                self.uploads.remove(digest)
                db.execute("DELETE FROM unused WHERE digest = ?", (digest,))

    def probe(self) -> None:
        """Raise Unavailable if the database or the storage is away."""
        self._database.read("SELECT 1")
        self.uploads.probe(self._address)

    def close(self) -> None:
        """Let go of all locks and of the database."""
        self._locks.close()
        self._database.close()

    def _stamp(self, db: Postgres) -> None:
        """Note which layout this is and where its tables are, or find it. Raises SettingsError."""
        rows = db.execute("SELECT layout, lancedb, tables FROM layout").fetchall()
        tables = f"{self._address}/{secrets.token_hex(8)}"
        if rows:
            theirs = Layout(*rows[0])
            check_age("the database", theirs)
            tables = theirs.tables or tables
            if (there := tables.rpartition("/")[0]) != self._address:
                message = f"chunks: the tables of this database are in {there}, and stay there"
                raise SettingsError(f"{message}: set TIFFIN_CHUNKS={there}")
        ours = Layout(LAYOUT, version_of("lancedb"), tables)
        if not rows or theirs != ours:
            db.execute(_STAMP, (ours.layout, ours.lancedb, ours.tables))
        self._tables = tables


class _Locks:
    """Locks of one session. Nothing else uses its connection, so that its loss is noticed."""

    def __init__(self, database: str) -> None:
        self._session = Postgres(database, _NAME, "")
        self._held: dict[str, int] = {}
        self._turn = threading.Lock()

    @contextmanager
    def acquire(self, name: str) -> Generator[None, None, None]:
        """Hold a lock for the block. Raises Timeout if anyone has it, this process included."""
        with self._turn:
            if name in self._held:
                raise Timeout(name)
            asked = "SELECT pg_try_advisory_lock(?)"
            ((free,),) = self._session.read(asked, (self._key(name),))
            if not free:
                raise Timeout(name)
            self._held[name] = self._session.connections
        try:
            yield
        finally:
            self._release(name)

    def check(self, name: str) -> None:
        """Raise Unavailable if the session that took the lock is gone."""
        with self._turn:
            self._session.read("SELECT 1")
            if self._held.get(name) != self._session.connections:
                raise Unavailable("the database of corpora let go of a lock; ingestion starts over")

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def _release(self, name: str) -> None:
        with self._turn, suppress(Unavailable):
            if self._held.pop(name) == self._session.connections:
                self._session.read("SELECT pg_advisory_unlock(?)", (self._key(name),))

    def _key(self, name: str) -> int:
        return lock_key(f"{_NAME} {name}")
