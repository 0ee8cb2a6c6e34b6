"""Time limits of tests, on machines that do other work at the same time."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

TICK_S = 0.005
HANGS_S = 20.0


class _Waiting:
    """How long other work of the machine kept this event loop waiting, since it was made."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._due, self._cpu = 0.0, 0.0

    async def watch(self) -> None:
        while True:
            self._due, self._cpu = time.monotonic() + TICK_S, time.process_time()
            await asyncio.sleep(TICK_S)
            self.look()

    def look(self) -> None:
        """Add what has passed since the last tick was due, but for what we have done ourselves."""
        late_s, own_s = time.monotonic() - self._due, time.process_time() - self._cpu
        self.seconds += max(0.0, late_s - own_s)


@asynccontextmanager
async def within(limit_s: float) -> AsyncGenerator[None, None]:
    """Fail if the block takes longer than that, beside what other work of the machine took."""
    waiting = _Waiting()
    watch = asyncio.create_task(waiting.watch())
    await asyncio.sleep(0)
    began = time.monotonic()
    try:
        async with asyncio.timeout(HANGS_S + limit_s):
            yield
        took_s = time.monotonic() - began
        waiting.look()
    finally:
        watch.cancel()
    late = f"it took {took_s:.3f} s, of which the machine was busy for {waiting.seconds:.3f} s"
    assert took_s - waiting.seconds < limit_s, f"{late}; limit {limit_s} s"
