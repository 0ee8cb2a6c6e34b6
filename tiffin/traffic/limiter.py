"""Bounds the calls to one service by how fast it answers. Held by a `ServiceClient`, one a stage.

Gradient2 of Netflix's concurrency-limits (the formula, not the code; described at
https://github.com/Netflix/concurrency-limits): as long as calls take about as long as they did on
average the limit grows, and when they take longer, because work queues up behind them, it falls in
proportion. A call over the limit is refused before it is sent, unless its tenant holds less than
its share of the places: one tenant's flood refuses only itself, here as at the door.
"""

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tiffin.core.errors import DeadlineExceeded, Overloaded

TOLERANCE = 1.5
"""Calls may take this many times the average before the limit falls."""

ROOM = 4.0
"""By which the limit grows while there is no sign of a queue."""

SMOOTHING = 0.2
AVERAGE_OVER = 600
"""Calls over which the average runs."""

FALLEN, FORGET = 2.0, 0.95

BACK_OFF = 0.9
"""What remains of the limit after a call that was refused or late."""


@dataclass
class Sample:
    """One call; `done` says when its answer began, if that is not when the block ends."""

    began: float = field(default_factory=time.perf_counter)
    took_s: float | None = None

    def done(self) -> None:
        """Note the time, the first time only."""
        if self.took_s is None:
            self.took_s = time.perf_counter() - self.began


class Limiter:
    """The limit of one service; `what` names its calls in a refusal, in the plural."""

    def __init__(self, what: str, *, least: int = 16, most: int = 256, initial: int = 32) -> None:
        self._what = what
        self._least, self._most = float(least), float(most)
        self._limit = float(initial)
        self._average_s: float | None = None
        self._held: Counter[str] = Counter()
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return int(self._limit)

    @contextmanager
    def place(self, tenant: str = "") -> Generator[Sample, None, None]:
        """Hold a place for one call. Raises Overloaded when there is none for this tenant."""
        if self.in_flight >= self.limit and self._has_its_share(tenant):
            message = f"{self.in_flight} {self._what} are in flight, the limit is now {self.limit}"
            raise Overloaded(message)
        self.in_flight += 1
        self._held[tenant] += 1
        sample = Sample()
        try:
            yield sample
            sample.done()
        except (Overloaded, DeadlineExceeded):
            self._limit = max(self._least, self._limit * BACK_OFF)
            raise
        finally:
            if sample.took_s is not None:
                self._learn(sample.took_s)
            self.in_flight -= 1
            self._held[tenant] -= 1
            if not self._held[tenant]:
                del self._held[tenant]

    def _has_its_share(self, tenant: str) -> bool:
        """Of the limit, among the tenants that hold places; all shares together pass it once."""
        tenants = len(self._held.keys() | {tenant})
        return self._held[tenant] >= self.limit // tenants

    def _learn(self, took_s: float) -> None:
        took_s = max(took_s, 1e-6)
        average = took_s if self._average_s is None else self._average_s
        average += (took_s - average) / AVERAGE_OVER
        if average > FALLEN * took_s:  # the load is gone: forget it sooner
            average *= FORGET
        self._average_s = average
        if self.in_flight < self._limit / 2:
            return  # the callers, not the service, set the pace
        gradient = max(0.5, min(1.0, TOLERANCE * average / took_s))
        target = self._limit * gradient + ROOM
        smoothed = self._limit * (1 - SMOOTHING) + target * SMOOTHING
        self._limit = max(self._least, min(self._most, smoothed))
