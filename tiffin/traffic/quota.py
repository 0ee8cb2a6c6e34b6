"""What a key may spend in a minute: two leaking buckets, requests and tokens.

`tiffin.api.middleware.access` takes from them for each request; whoever learns what the request
cost calls `charge`, wherever that is. What was estimated at the door is then corrected. The buckets
are this process's, or those of all replicas (`tiffin.traffic.shared_quota`).
"""

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple, Protocol

MINUTE_S = 60.0


class Taken(NamedTuple):
    """How a bucket stands: `level` units, below 0 in debt; and the seconds to wait if refused."""

    level: float
    wait_s: float = 0.0


class Limiter(Protocol):
    """Buckets by name. Each holds up to `per_minute` units and refills at that rate."""

    async def take(self, name: str, per_minute: int, units: float, need: float) -> Taken:
        """Take units if at least `need` are there, or as many as fit into the bucket."""
        ...

    def settle(self, name: str, per_minute: int, units: float) -> None:
        """Take units at any rate, into debt if need be; a negative number gives back."""
        ...

    async def close(self) -> None:
        """Settle what is open, and close the connections."""
        ...


class Bucket:
    """One bucket of this process."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._level = float(per_minute)
        self._seen = clock()

    def level(self) -> float:
        """Units left now."""
        now = self._clock()
        rate = self.per_minute / MINUTE_S
        self._level = min(float(self.per_minute), self._level + (now - self._seen) * rate)
        self._seen = now
        return self._level

    def take(self, units: float) -> None:
        """Take units, into debt if need be; a negative number gives back."""
        self._level = min(float(self.per_minute), self.level() - units)


class LocalLimiter:
    """The buckets of this process."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    async def take(self, name: str, per_minute: int, units: float, need: float) -> Taken:
        """As `Limiter` says."""
        bucket = self._bucket(name, per_minute)
        if wait_s := wait_for(bucket.level(), per_minute, need):
            return Taken(bucket.level(), wait_s)
        bucket.take(units)
        return Taken(bucket.level())

    def settle(self, name: str, per_minute: int, units: float) -> None:
        """As `Limiter` says."""
        self._bucket(name, per_minute).take(units)

    async def close(self) -> None:
        """As `Limiter` says: there is nothing to close."""

    def _bucket(self, name: str, per_minute: int) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None or bucket.per_minute != per_minute:
            bucket = self._buckets[name] = Bucket(per_minute)
        return bucket


def wait_for(level: float, per_minute: int, need: float) -> float:
    """Seconds until so many units are there; 0 when they are. More than fit need a full bucket."""
    return max(0.0, (min(need, per_minute) - level) * MINUTE_S / per_minute)


@dataclass
class Side:
    """One of a key's two limits, as one request sees it. `what` is `requests` or `tokens`."""

    limiter: Limiter
    key: str
    what: str
    per_minute: int
    level: float = 0.0

    @property
    def name(self) -> str:
        """Of the bucket."""
        return f"{self.key}:{self.what}"

    async def take(self, units: float) -> float:
        """Take them; returns the seconds to wait if they are not there."""
        taken = await self.limiter.take(self.name, self.per_minute, units, max(1.0, units))
        self.level = taken.level
        return taken.wait_s

    def settle(self, units: float) -> None:
        """Correct what was taken."""
        self.level = min(float(self.per_minute), self.level - units)
        self.limiter.settle(self.name, self.per_minute, units)

    @property
    def remaining(self) -> int:
        """Whole units left; 0 while in debt."""
        return max(0, math.floor(self.level))

    def full_in_s(self) -> float:
        """Seconds until it is full again."""
        return wait_for(self.level, self.per_minute, self.per_minute)


@dataclass
class Meter:
    """The tokens of one request: an estimate until the first charge."""

    side: Side | None
    estimate: int
    used: int | None = None

    def charge(self, tokens: int) -> None:
        """Count tokens that were really read or written."""
        if self.side is not None:
            self.side.settle(tokens - (self.estimate if self.used is None else 0))
        self.used = (self.used or 0) + tokens


current: ContextVar[Meter | None] = ContextVar("meter", default=None)


def charge(tokens: int) -> None:
    """Count tokens against the key of the request that this runs for, if it has one."""
    meter = current.get()
    if meter is not None:
        meter.charge(tokens)
