"""The ledger: every attempt and what it cost, in storage that several processes may share.

A row is written when a tier is asked and again when the attempt ends. `opened` returns a future
that is done once the first row is committed: the entry service awaits it before it passes on the
first token, so that nothing a client has read is missing after a crash. No one waits for the other
rows, so the writer thread leaves them for `COALESCE_S` unless an opened attempt needs a commit: at
one commit for each row it would fight the event loop for the interpreter. Commits survive the death
of the process; in an SQLite file the last ones before a power cut may be lost (synchronous=NORMAL).
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tiffin.core.context import Attempt
from tiffin.core.messages import RouteDecision, Spent
from tiffin.routing.spending import SUMS, Spending, Whose, day_of
from tiffin.routing.storage import BUSY_S, LedgerError, Statement, open_storage
from tiffin.telemetry import metrics

logger = logging.getLogger(__name__)

_COLUMNS = (
    "request_id, number, at, day, tenant, key, policy, tier, model, provider, outcome,"
    " prompt_tokens, cached_tokens, completion_tokens, usd, strongest_usd, estimated, ttft_ms,"
    " seconds"
)
_CHANGED = _COLUMNS.split(", ")[10:]
_PUT = (
    f"INSERT INTO attempts ({_COLUMNS}) VALUES ({', '.join('?' * 19)})"  # noqa: S608
    " ON CONFLICT (request_id, number, at) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _CHANGED)
)
_DECIDED = (
    "INSERT INTO decisions (request_id, at, record) VALUES (?, ?, ?)"
    " ON CONFLICT (request_id, at) DO UPDATE SET record = excluded.record"
)

MAX_COMMIT = 500
COALESCE_S = 0.02
"""How long rows that no one waits for may wait for each other."""

REFRESH_S = 2.0
"""How often other replicas' spending is read. What they spend in between may exceed a cap."""


class Recorded(msgspec.Struct, frozen=True):
    """A decision as it is recorded for replay, without the query and its embedding."""

    decision: RouteDecision
    model: str
    needs: list[str]
    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True)
class Entry:
    """Whose attempt it is. `at` is when the request arrived, in seconds of the Unix epoch."""

    request_id: str
    tenant: str
    key: str
    policy: str
    at: float

    @property
    def day(self) -> str:
        """The UTC day, such as 2026-01-31."""
        return day_of(self.at)


class _Row(NamedTuple):
    """A row to write. Once it is written, `usd` counts as spent by `whose` key on that day."""

    statement: str
    values: tuple[Any, ...]
    done: "Future[None] | None" = None
    whose: Whose | None = None
    usd: float = 0.0


class Ledger:
    """The ledger is open until `close`. It may be used from any thread."""

    def __init__(self, where: str | Path, now: Callable[[], float] = time.time) -> None:
        self._where = where
        self._now = now
        self._todo: queue.SimpleQueue[_Row | None] = queue.SimpleQueue()
        self._urgent = threading.Event()
        self._spending = Spending()
        self._storage = open_storage(where)
        self._refresh()
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._thread.start()

    def opened(self, entry: Entry, attempt: Attempt) -> "asyncio.Future[None]":
        """Record that a tier is asked. The future is done when this is committed."""
        done: Future[None] = Future()
        self._todo.put(_Row(_PUT, _row(entry, attempt), done))
        self._urgent.set()
        return asyncio.wrap_future(done)

    def closed(self, entry: Entry, attempt: Attempt) -> None:
        """Record how the attempt ended and what it cost."""
        whose = Whose(entry.day, entry.tenant, entry.key)
        self._spending.put_off(whose, attempt.usd)
        self._todo.put(_Row(_PUT, _row(entry, attempt), None, whose, attempt.usd))

    def amended(self, entry: Entry, attempt: Attempt) -> None:
        """Record a change to an attempt whose end and cost are recorded already."""
        self._todo.put(_Row(_PUT, _row(entry, attempt)))

    def decided(self, entry: Entry, recorded: Recorded) -> None:
        """Record a decision for replay."""
        values = (entry.request_id, entry.at, msgspec.msgpack.encode(recorded))
        self._todo.put(_Row(_DECIDED, values))

    def spent(self, key: str, tenant: str = "") -> Spent:
        """What was spent this day and month (UTC). Other replicas' part may be `REFRESH_S` old."""
        return self._spending.of(tenant, key, self._now())

    def close(self) -> None:
        """Write the waiting rows, then close the connection."""
        self._todo.put(None)
        self._urgent.set()
        self._thread.join(BUSY_S)

    def _write(self) -> None:
        """Commit waiting rows, up to `MAX_COMMIT` at once. Runs in the writer thread."""
        refreshed = time.monotonic()
        ending = False
        while not ending:
            batch = self._next_batch()
            rows = [item for item in batch if item is not None]
            ending = len(rows) < len(batch)
            if rows:
                self._commit(rows)
            if self._storage.shared and time.monotonic() - refreshed >= REFRESH_S:
                refreshed = time.monotonic()
                self._try_refresh()
        self._storage.close()

    def _next_batch(self) -> list[_Row | None]:
        """The waiting rows, or none if no row arrives before the next refresh is due."""
        try:
            batch = [self._todo.get(timeout=REFRESH_S if self._storage.shared else None)]
        except queue.Empty:
            return []
        self._urgent.wait(COALESCE_S)
        self._urgent.clear()
        while len(batch) < MAX_COMMIT and not self._todo.empty():
            batch.append(self._todo.get())
        return batch

    def _commit(self, rows: list[_Row]) -> None:
        statements: list[Statement] = [(row.statement, row.values) for row in rows]
        try:
            self._storage.write(statements)
        except self._storage.errors:
            self._commit_again(statements)
        self._spending.committed((row.whose, row.usd) for row in rows if row.whose is not None)
        for row in rows:
            if row.done is not None:
                row.done.set_result(None)

    def _commit_again(self, statements: list[Statement]) -> None:
        """Try again on a new connection, because the database may have been restarted."""
        errors: tuple[type[Exception], ...] = (LedgerError, *self._storage.errors)
        try:
            if self._storage.shared:
                self._storage.close()
                self._storage = open_storage(self._where)
            self._storage.write(statements)
        except errors as error:
            # An answer is worth more than its row in the ledger, but the operator must know.
            logger.error("%s: %d rows are lost: %s", self._where, len(statements), error)  # noqa: TRY400
            metrics.ledger_lost_rows_total.inc(len(statements))

    def _try_refresh(self) -> None:
        try:
            self._refresh()
        except LedgerError as error:
            logger.warning("%s; caps count only what this replica spent", error)
            metrics.ledger_refresh_failures_total.inc()

    def _refresh(self) -> None:
        """Read what all replicas spent today, and once a day what before. Between commits."""
        today = day_of(self._now())
        earlier: list[tuple[Any, ...]] = []
        if self._spending.read_on != today:
            earlier = self._storage.read(SUMS, (f"{today[:7]}-01", today))
        rows = self._storage.read(SUMS, (today, today))
        self._spending.read(today, rows, earlier=earlier)


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
