"""Where answers are kept: the interface of a store, and the one in this process's memory."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

OVERHEAD_BYTES = 200
"""What an entry takes besides its key and value."""


class Found(NamedTuple):
    """What is stored under a key, and the tenant's generation: how often its answers were cleared.

    An answer is stored only if that is still what it was when the work on it began. So what was
    computed before a `clear` is never given after it.
    """

    value: bytes | None
    generation: int


NOTHING = Found(None, -1)
"""What a store says that is away. With this generation nothing is stored."""


class Store(Protocol):
    """Keeps bytes under keys. A key begins with its tenant's prefix, which ends in a colon.

    A store that is away raises nothing: it has nothing, and keeps nothing.
    """

    async def get(self, key: str) -> Found:
        """What is stored, if it is not too old."""
        ...

    async def put(self, key: str, value: bytes, ttl_s: float, generation: int) -> None:
        """Store it, unless the tenant's answers were cleared since that generation."""
        ...

    async def remove(self, keys: Sequence[str]) -> int:
        """Remove these; returns how many there were."""
        ...

    async def keys(self, prefix: str) -> list[str]:
        """The keys that begin so. Looks at all that is stored: not for the way of a request."""
        ...

    async def renew(self, tenant: str) -> None:
        """Keep nothing of what is being computed for a tenant now, by its prefix."""
        ...

    async def clear(self, tenant: str) -> int:
        """Remove all of a tenant, by its prefix, also what is being computed for it now."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class _Kept(NamedTuple):
    value: bytes
    until: float


class MemoryStore:
    """In this process, at most `max_bytes`. What was not asked for longest goes first."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._generations: Counter[str] = Counter()

    async def get(self, key: str) -> Found:
        """What is stored, if it is not too old. It moves to the end of the queue to be dropped."""
        generation = self._generations[tenant_of(key)]
        kept = self._kept.get(key)
        if kept is None:
            return Found(None, generation)
        if kept.until <= self._clock():
            self._drop(key)
            return Found(None, generation)
        self._kept.move_to_end(key)
        return Found(kept.value, generation)

    async def put(self, key: str, value: bytes, ttl_s: float, generation: int) -> None:
        """Store it. A value of more than a tenth of the memory is not kept."""
        if generation != self._generations[tenant_of(key)]:
            return
        if len(value) > self.max_bytes / 10:
            return
        self._drop(key)
        self._kept[key] = _Kept(value, self._clock() + ttl_s)
        self.used_bytes += _bytes(key, value)
        while self.used_bytes > self.max_bytes:
            self._drop(next(iter(self._kept)))

    async def remove(self, keys: Sequence[str]) -> int:
        """Remove these; returns how many there were."""
        return sum(map(self._drop, keys))

    async def keys(self, prefix: str) -> list[str]:
        """The keys that begin so, those asked for last at the end."""
        return [key for key in self._kept if key.startswith(prefix)]

    async def renew(self, tenant: str) -> None:
        """Keep nothing of what is being computed for a tenant now."""
        self._generations[tenant] += 1

    async def clear(self, tenant: str) -> int:
        """Remove all of a tenant, also what is being computed for it now."""
        await self.renew(tenant)
        return await self.remove(await self.keys(tenant))

    async def close(self) -> None:
        """Nothing is open."""

    def __len__(self) -> int:
        return len(self._kept)

    def _drop(self, key: str) -> bool:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.used_bytes -= _bytes(key, kept.value)
        return kept is not None


def tenant_of(key: str) -> str:
    """The prefix of the key's tenant, with its colon."""
    return key[: key.index(":") + 1]


def _bytes(key: str, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD_BYTES
