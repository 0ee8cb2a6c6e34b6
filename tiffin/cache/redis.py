"""The store in a Redis (or Valkey) server, so that all replicas give the same answers again.

Needs no modules of it. What the server does not do in time is left out: an answer is not found, or
not kept. After a few failures the breaker leaves it alone for some seconds.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from tiffin.cache.store import NOTHING, Found, tenant_of
from tiffin.core.errors import Unavailable
from tiffin.telemetry import metrics
from tiffin.traffic.failover import Breaker

PASSWORD_VARIABLE = "REDIS_PASSWORD"  # noqa: S105  where it is, not what
PREFIX = "tiffin:cache:"
GENERATION = f"{PREFIX}generation:"
TIMEOUT_S = 0.1
"""For one command; a healthy server takes less than a millisecond."""
FAILURES_TO_OPEN = 5
OPEN_S = 4.0
SCAN_COUNT = 1000

# Stores a value if the tenant's answers were not cleared since the work on it began.
_PUT = """
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

Result = TypeVar("Result")


def connect(url: str, timeout_s: float) -> Any:  # noqa: ANN401  the package is optional
    """A client that waits no longer than that for anything, and tries nothing again."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        password=os.environ.get(PASSWORD_VARIABLE),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


class RedisStore:
    """Answers under `tiffin:cache:`. The server evicts them when its own memory is full."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        from redis import RedisError, ResponseError

        self._redis = connect(url, timeout_s)
        self._timeout_s = timeout_s
        self._refused, self._failed = ResponseError, (RedisError, OSError, TimeoutError)
        self._breaker = Breaker("cache", FAILURES_TO_OPEN, OPEN_S)
        self._put = self._redis.register_script(_PUT)

    async def get(self, key: str) -> Found:
        """What is stored; nothing if the server is away."""
        names = [PREFIX + key, GENERATION + tenant_of(key)]
        found = await self._try(lambda: self._redis.mget(names), None)
        if found is None:
            return NOTHING
        value, generation = found
        return Found(value, int(generation or 0))

    async def put(self, key: str, value: bytes, ttl_s: float, generation: int) -> None:
        """Store it, unless the tenant's answers were cleared, or the server was away before."""
        if generation == NOTHING.generation:
            return
        keys = [PREFIX + key, GENERATION + tenant_of(key)]
        said: list[bytes | int] = [value, round(ttl_s * 1000), generation]
        await self._try(lambda: self._put(keys=keys, args=said), None)

    async def remove(self, keys: Sequence[str]) -> int:
        """Remove these; returns how many there were."""
        if not keys:
            return 0
        names = [PREFIX + key for key in keys]
        return await self._try(lambda: self._redis.unlink(*names), 0)

    async def keys(self, prefix: str) -> list[str]:
        """The keys that begin so."""
        found: list[str] = []
        cursor, pattern = 0, f"{PREFIX}{prefix}*"
        while True:
            scan = partial(self._redis.scan, cursor, match=pattern, count=SCAN_COUNT)
            page = await self._try(scan, None)
            if page is None:
                return found
            cursor, names = page
            found += [name.decode().removeprefix(PREFIX) for name in names]
            if cursor == 0:
                return found

    async def renew(self, tenant: str) -> None:
        """Keep nothing of what any replica is computing for a tenant now."""
        await self._try(lambda: self._redis.incr(GENERATION + tenant), None)

    async def clear(self, tenant: str) -> int:
        """Remove all of a tenant, also what any replica is computing for it now."""
        await self.renew(tenant)
        return await self.remove(await self.keys(tenant))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _try(self, work: Callable[[], Awaitable[Result]], otherwise: Result) -> Result:
        """The result, or what stands in for it if the server does not answer well and in time."""
        try:
            self._breaker.enter()
        except Unavailable:
            return otherwise
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await work()
        except self._refused:  # it answers, and does not want to: it may be full
            self._breaker.succeeded()
        except self._failed:
            self._breaker.failed()
        except BaseException:
            self._breaker.left()
            raise
        else:
            self._breaker.succeeded()
            return result
        metrics.cache_store_failures_total.inc()
        return otherwise
