"""The ledger: every attempt and what it cost, in an SQLite file that several processes may share.

A row is written when a tier is asked and again when the attempt ends. `opened` gives a future that
is done once the first row is committed: the entry service awaits it before it passes on the first
token, so that nothing a client has read is missing after a crash. One writer thread commits all
that waits at once; WAL mode lets `tiffin costs` read beside it. Commits survive the death of the
process; the last ones before a power cut may be lost (synchronous=NORMAL).
"""

import asyncio
import datetime as dt
import logging
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from models.errors import ModelError
from tiffin.routing.bill import Attempt
from tiffin.transport.messages import RouteDecision, Spent

logger = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    request_id TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL, day TEXT NOT NULL,
    tenant TEXT NOT NULL, key TEXT NOT NULL, policy TEXT NOT NULL,
    tier TEXT NOT NULL, model TEXT NOT NULL, provider TEXT NOT NULL, outcome TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, usd REAL NOT NULL, strongest_usd REAL NOT NULL,
    estimated INTEGER NOT NULL, ttft_ms REAL, seconds REAL NOT NULL,
    PRIMARY KEY (request_id, number, at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attempts_by_day ON attempts (day, tenant, key, tier);
CREATE TABLE IF NOT EXISTS decisions (
    request_id TEXT NOT NULL, at REAL NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (request_id, at)
) WITHOUT ROWID;
"""
_PUT = f"INSERT OR REPLACE INTO attempts VALUES ({', '.join('?' * 19)})"  # noqa: S608

BUSY_S = 5.0
MAX_COMMIT = 500


class LedgerError(ModelError):
    """The ledger's file cannot be opened or read."""


class Recorded(msgspec.Struct, frozen=True):
    """A decision as it is kept for replay: without the query and its embedding."""

    decision: RouteDecision
    model: str
    needs: list[str]
    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True)
class Entry:
    """Whose attempt it is. `at` is when the request came, in seconds of the Unix epoch."""

    request_id: str
    tenant: str
    key: str
    policy: str
    at: float

    @property
    def day(self) -> str:
        """The UTC day, as 2026-01-31."""
        return dt.datetime.fromtimestamp(self.at, dt.UTC).date().isoformat()


class Ledger:
    """Open from when it is made until `close`. Safe for any thread."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._todo: queue.SimpleQueue[tuple[str, tuple[Any, ...], Future[None]] | None] = (
            queue.SimpleQueue()
        )
        self._spent: dict[tuple[str, str], float] = defaultdict(float)
        connection = open_ledger(path)
        today = Entry("", "", "", "", now()).day
        rows = connection.execute(
            "SELECT key, SUM(usd) FROM attempts WHERE day = ? GROUP BY key", (today,)
        )
        for key, usd in rows:
            self._count(today, key, usd)
        self._thread = threading.Thread(
            target=self._write, args=(connection,), name="ledger", daemon=True
        )
        self._thread.start()

    def opened(self, entry: Entry, attempt: Attempt) -> "asyncio.Future[None]":
        """Write that a tier is asked. The future is done when it is committed."""
        return asyncio.wrap_future(self._put(_PUT, _row(entry, attempt)))

    def closed(self, entry: Entry, attempt: Attempt) -> None:
        """Write how the attempt ended and what it cost."""
        self._count(entry.day, entry.key, attempt.usd)
        self._put(_PUT, _row(entry, attempt))

    def amended(self, entry: Entry, attempt: Attempt) -> None:
        """Write an attempt again whose end and cost are known already."""
        self._put(_PUT, _row(entry, attempt))

    def decided(self, entry: Entry, recorded: Recorded) -> None:
        """Keep a decision for replay."""
        row = (entry.request_id, entry.at, msgspec.msgpack.encode(recorded))
        self._put("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?)", row)

    def spent(self, key: str) -> Spent:
        """What was spent on the present UTC day, as this process knows it."""
        day = Entry("", "", "", "", self._now()).day
        return Spent(key_usd=self._spent[day, f"key {key}"], day_usd=self._spent[day, "all"])

    def close(self) -> None:
        """Write what waits, then close the file."""
        self._todo.put(None)
        self._thread.join(BUSY_S)

    def _count(self, day: str, key: str, usd: float) -> None:
        self._spent[day, f"key {key}"] += usd
        self._spent[day, "all"] += usd

    def _put(self, statement: str, row: tuple[Any, ...]) -> "Future[None]":
        done: Future[None] = Future()
        self._todo.put((statement, row, done))
        return done

    def _write(self, connection: sqlite3.Connection) -> None:
        """The writer thread: commits what waits, up to `MAX_COMMIT` rows at once."""
        ending = False
        while not ending:
            batch = [self._todo.get()]
            while len(batch) < MAX_COMMIT and not self._todo.empty():
                batch.append(self._todo.get())
            rows = [item for item in batch if item is not None]
            ending = len(rows) < len(batch)
            try:
                with connection:
                    for statement, row, _ in rows:
                        connection.execute(statement, row)
            except sqlite3.Error:
                # An answer is worth more than its line in the ledger; the operator must know.
                logger.exception("%s: %d rows are lost", self._path, len(rows))
            for _, _, done in rows:
                done.set_result(None)
        connection.close()


def open_ledger(path: Path) -> sqlite3.Connection:
    """A connection to the ledger's file, made if it is not there. Raises LedgerError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The connection is made here and then used by the writer thread alone.
        connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except (sqlite3.Error, OSError) as error:
        message = f"the ledger {path} cannot be opened: {error}; set TIFFIN_ROUTING__LEDGER"
        raise LedgerError(message) from error
    return connection


def _row(entry: Entry, attempt: Attempt) -> tuple[Any, ...]:
    return (
        entry.request_id,
        attempt.number,
        entry.at,
        entry.day,
        entry.tenant,
        entry.key,
        entry.policy,
        attempt.tier,
        attempt.model,
        attempt.provider,
        attempt.outcome,
        attempt.usage.prompt_tokens,
        attempt.usage.cached_tokens,
        attempt.usage.completion_tokens,
        attempt.usd,
        attempt.strongest_usd,
        int(attempt.estimated),
        attempt.ttft_ms,
        attempt.seconds,
    )
