"""What a key may spend in a minute: two leaking buckets, requests and tokens.

`tiffin.api.middleware.access` opens a meter for each request; whoever learns what the request cost
calls `charge`, wherever that is. What was estimated at the door is then corrected.
"""

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

MINUTE_S = 60.0


class Bucket:
    """Holds up to `per_minute` units and refills at that rate, all the time."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._level = float(per_minute)
        self._seen = clock()

    @property
    def remaining(self) -> int:
        """Whole units left now; 0 while in debt."""
        return max(0, math.floor(self._refilled()))

    def wait_s(self, units: float) -> float:
        """Seconds until so many units are there; 0 when they are. More than fit need a full one."""
        missing = min(units, self.per_minute) - self._refilled()
        return max(0.0, missing * MINUTE_S / self.per_minute)

    def take(self, units: float) -> None:
        """Take units, into debt if need be; a negative number gives back."""
        self._level = min(float(self.per_minute), self._refilled() - units)

    def full_in_s(self) -> float:
        """Seconds until it is full again."""
        return self.wait_s(self.per_minute)

    def _refilled(self) -> float:
        now = self._clock()
        rate = self.per_minute / MINUTE_S
        self._level = min(float(self.per_minute), self._level + (now - self._seen) * rate)
        self._seen = now
        return self._level


@dataclass
class Meter:
    """The tokens of one request: an estimate until the first charge."""

    bucket: Bucket | None
    estimate: int
    used: int | None = None

    def charge(self, tokens: int) -> None:
        """Count tokens that were really read or written."""
        if self.bucket is not None:
            self.bucket.take(tokens - (self.estimate if self.used is None else 0))
        self.used = (self.used or 0) + tokens


current: ContextVar[Meter | None] = ContextVar("meter", default=None)


def charge(tokens: int) -> None:
    """Count tokens against the key of the request that this runs for, if it has one."""
    meter = current.get()
    if meter is not None:
        meter.charge(tokens)
