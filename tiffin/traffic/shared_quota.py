"""The minute limits of keys, shared by all replicas through a store that they share anyway.

Redis (`tiffin.cache.limits`) or PostgreSQL (`tiffin.routing.limits`) do the arithmetic, by their
own clock. While the store is away, each replica holds a key to its limit alone: a limit that is too
generous for a while is better than an outage.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

from tiffin.core.errors import Unavailable
from tiffin.traffic.failover import Breaker
from tiffin.traffic.quota import LocalLimiter, Taken, wait_for

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.25
FAILURES_TO_OPEN = 3
OPEN_S = 4.0


class Buckets(Protocol):
    """The buckets of a store."""

    async def take(
        self, name: str, per_minute: int, units: float, need: float | None
    ) -> tuple[bool, float]:
        """Whether the units were taken, and the level after. Always, if `need` is None.

        Raises OSError or TimeoutError while the store is away.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class SharedLimiter:
    """`Limiter` over a store, with this process's buckets for when it is away."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._alone = LocalLimiter()
        self._breaker = Breaker("limits", FAILURES_TO_OPEN, OPEN_S)
        self._away = False
        self._settling: set[asyncio.Task[None]] = set()

    async def take(self, name: str, per_minute: int, units: float, need: float) -> Taken:
        """As `Limiter` says."""
        found = await self._ask(name, per_minute, units, need)
        if found is None:
            return await self._alone.take(name, per_minute, units, need)
        taken, level = found
        return Taken(level, 0.0 if taken else wait_for(level, per_minute, need))

    def settle(self, name: str, per_minute: int, units: float) -> None:
        """As `Limiter` says; nobody waits for it."""
        task = asyncio.get_running_loop().create_task(self._settle(name, per_minute, units))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """As `Limiter` says. What the store does not take in time is not settled."""
        await asyncio.gather(*self._settling, return_exceptions=True)
        with suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(TIMEOUT_S):
                await self._buckets.close()

    async def _settle(self, name: str, per_minute: int, units: float) -> None:
        if await self._ask(name, per_minute, units, None) is None:
            self._alone.settle(name, per_minute, units)

    async def _ask(
        self, name: str, per_minute: int, units: float, need: float | None
    ) -> tuple[bool, float] | None:
        """What the store says; None if it is away."""
        try:
            self._breaker.enter()
            async with asyncio.timeout(TIMEOUT_S):
                found = await self._buckets.take(name, per_minute, units, need)
        except Unavailable:
            return None
        except OSError as error:  # TimeoutError is one
            self._breaker.failed()
            if not self._away:
                logger.warning("limits: each replica counts alone, the store is away: %r", error)
            self._away = True
            return None
        except BaseException:
            self._breaker.left()
            raise
        self._breaker.succeeded()
        self._away = False
        return found
