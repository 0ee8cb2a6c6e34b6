"""The entry service's door: who comes in, who waits, who is refused. Used by `tiffin.api`.

So many questions are in work at once; so many more may wait, for so long. Interactive ones go
before batch ones; among equals the tenant that holds least goes first, so that one tenant's flood
delays only itself. When the queue is full, a question takes the place of one that matters less, or
is refused, with the time after which a retry is worth it.

The number in work falls when answers come late, and grows back while they come in time (additive
increase, multiplicative decrease; Chiu and Jain 1989).
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tiffin.context import RequestContext
from tiffin.errors import Overloaded
from tiffin.ops.resilience import AdmissionSettings

DECREASE = 0.8
DECREASE_EVERY_S = 1.0
LATE_SHARE = 0.11
"""An answer is late when less of its time than this is left: generation is cut off at a tenth."""

MAX_RETRY_AFTER_S = 60
MEMORY = 0.1
"""Weight of the newest question in the average time that one is in work."""


@dataclass(eq=False)
class _Waiter:
    tenant: str
    batch: bool
    turn: "asyncio.Future[None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future(), repr=False
    )


class Turnstile:
    """Places for the questions in work. `limit` is the most there may ever be."""

    def __init__(self, limit: int, settings: AdmissionSettings) -> None:
        self._most = float(limit)
        self._limit = float(limit)
        self._settings = settings
        self._held: Counter[str] = Counter()
        self._batch = 0
        self._turns: dict[str, float] = {}
        self._now = 0.0
        self._waiting: list[_Waiter] = []
        self._seconds = 0.0
        self._decreased = 0.0

    @property
    def held(self) -> int:
        """Questions in work now."""
        return self._held.total()

    @property
    def waiting(self) -> int:
        """Questions that wait now."""
        return len(self._waiting)

    def waiting_of(self, *, batch: bool) -> int:
        """Those of one priority."""
        return sum(waiter.batch == batch for waiter in self._waiting)

    @property
    def limit(self) -> int:
        """Questions that may be in work now."""
        return int(self._limit)

    @asynccontextmanager
    async def place(self, context: RequestContext) -> AsyncGenerator[None, None]:
        """Hold a place for the block, after a wait if need be. Raises Overloaded."""
        await self._enter(context)
        began, whole_s = time.monotonic(), context.deadline.remaining()
        try:
            yield
        finally:
            self._held[context.tenant] -= 1
            self._batch -= context.batch
            took_s = time.monotonic() - began
            self._seconds += MEMORY * (took_s - self._seconds) if self._seconds else took_s
            if not context.batch:
                self._adapt(late=context.deadline.remaining() < LATE_SHARE * whole_s)
            self._admit()

    def retry_after_s(self) -> int:
        """When those that hold a place or wait will probably be through."""
        turns = (self.held + self.waiting) / max(1, self.limit)
        return max(1, min(MAX_RETRY_AFTER_S, math.ceil(turns * self._seconds)))

    def check(self, context: RequestContext) -> None:
        """Raise Overloaded if the request would be refused at once; costs nothing else."""
        if self._is_full():
            self._least_important(_Waiter(context.tenant, context.batch))

    def _is_full(self) -> bool:
        """Whether as many wait as may, or as will be through before their patience ends."""
        wait_s = (self.waiting + 1) * self._seconds / max(1, self.limit)
        too_long = self.held >= self.limit and wait_s > self._settings.max_wait_ms / 1000
        return too_long or self.waiting >= self._settings.max_waiting

    async def _enter(self, context: RequestContext) -> None:
        waiter = _Waiter(context.tenant, context.batch)
        if self._is_full():
            self._make_room(waiter)
        self._waiting.append(waiter)
        self._admit()
        limit_s = min(self._settings.max_wait_ms / 1000, context.deadline.remaining() / 2)
        try:
            async with asyncio.timeout(limit_s):
                await waiter.turn
        except TimeoutError:
            self._forget(waiter)
            raise self._refusal() from None
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def _forget(self, waiter: _Waiter) -> None:
        """It waits no longer: give back its place if its turn came in the same moment."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
            self._held[waiter.tenant] -= 1
            self._batch -= waiter.batch
            self._admit()

    def _make_room(self, newcomer: _Waiter) -> None:
        """Send away the waiter that matters least, if it matters less. Raises Overloaded if not."""
        if (last := self._least_important(newcomer)) is not None:
            self._waiting.remove(last)
            last.turn.set_exception(self._refusal())

    def _least_important(self, newcomer: _Waiter) -> _Waiter | None:
        """Who would go in place of the newcomer; None when there is room. Raises Overloaded."""
        if self._has_room(newcomer) and not self._waiting:
            return None
        waits = Counter(waiter.tenant for waiter in self._waiting)
        weight = {
            waiter: (waiter.batch, waits[waiter.tenant] + self._held[waiter.tenant])
            for waiter in reversed(self._waiting)  # of equals the newest goes
        }
        last = max(weight, key=lambda waiter: weight[waiter], default=None)
        tenant = newcomer.tenant
        own = (newcomer.batch, waits[tenant] + self._held[tenant] + 1)
        if last is None or weight[last] <= own:
            raise self._refusal()
        return last

    def _admit(self) -> None:
        """Give free places to those that go first."""
        while ready := [waiter for waiter in self._waiting if self._has_room(waiter)]:
            first = min(ready, key=self._rank)
            self._waiting.remove(first)
            if first.turn.done():
                continue
            self._now = max(self._now, self._turns.get(first.tenant, 0.0))
            self._turns[first.tenant] = self._now + 1
            self._held[first.tenant] += 1
            self._batch += first.batch
            first.turn.set_result(None)
        # Tenants that hold nothing and are owed nothing are forgotten.
        self._held += Counter()
        self._turns = {name: turn for name, turn in self._turns.items() if turn > self._now}

    def _rank(self, waiter: _Waiter) -> tuple[bool, int, float]:
        """Lowest goes first: who holds least, then whose last turn is longest ago.

        Turns count in virtual time (start-time fair queueing; Goyal, Vin and Cheng 1996), so that
        a tenant that was away saves up nothing.
        """
        turn = max(self._now, self._turns.get(waiter.tenant, 0.0))
        return waiter.batch, self._held[waiter.tenant], turn

    def _has_room(self, waiter: _Waiter) -> bool:
        most = self.limit
        batch_most = max(1, int(most * self._settings.batch_share))
        return self.held < most and (not waiter.batch or self._batch < batch_most)

    def _adapt(self, *, late: bool) -> None:
        now = time.monotonic()
        if not late:
            self._limit = min(self._most, self._limit + 1 / self._limit)
        elif now - self._decreased >= DECREASE_EVERY_S:
            self._decreased = now
            least = min(self._most, float(self._settings.min_in_work))
            self._limit = max(least, self._limit * DECREASE)

    def _refusal(self) -> Overloaded:
        message = f"{self.held} questions are in work and {self.waiting} wait"
        return Overloaded(message, code="overloaded", retry_after_s=self.retry_after_s())
