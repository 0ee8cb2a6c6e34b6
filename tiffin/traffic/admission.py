"""The admission queue of the entry service: who starts, who waits, who is refused.

`tiffin.api` asks it for a place before a request does any work. So many requests are in progress at
once; so many more may wait, for so long. Interactive requests go before batch requests. Among
equals the tenant that holds the fewest places goes first, so that one tenant's flood delays only
itself. When the queue is full, a request takes the place of one that matters less, or is refused
and told when a retry is worth it.

Each kind of work (a tier, a policy, `embed`, `rerank`) has a lane with a limit and a queue of its
own. A lane's limit falls when its answers are late and grows back while they are in time (additive
increase, multiplicative decrease; Chiu and Jain 1989). When all places are taken, a lane that holds
less than its share still lets one in, so that work that hangs delays only those who ask for it.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tiffin.config.resilience import AdmissionSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import Overloaded

EMBED, RERANK = "embed", "rerank"
"""The lanes of requests that ask for no tier."""

DECREASE = 0.8
DECREASE_EVERY_S = 1.0
LATE_SHARE = 0.01
"""An answer with less of its time left than this, beyond what comes after it, was cut off late."""

MAX_RETRY_AFTER_S = 60
MEMORY = 0.1
"""Weight of the newest request in a lane's average time."""


@dataclass(eq=False)
class _Lane:
    """One lane: its limit, what holds a place in it, what waits, and how long one takes."""

    limit: float
    held: int = 0
    batch: int = 0
    waiting: int = 0
    seconds: float = 0.0
    decreased: float = 0.0

    def learn(self, took_s: float) -> None:
        """Note how long the newest request took."""
        self.seconds += MEMORY * (took_s - self.seconds) if self.seconds else took_s

    def adapt(self, least: float, most: float, *, late: bool) -> None:
        """Lower the limit for an answer that was late, once a second at most; else raise it."""
        now = time.monotonic()
        if not late:
            self.limit = min(most, self.limit + 1 / self.limit)
        elif now - self.decreased >= DECREASE_EVERY_S:
            self.decreased = now
            self.limit = max(least, self.limit * DECREASE)

    def wait_s(self, requests: int) -> float:
        """Seconds until so many of its requests will probably be done."""
        return requests * self.seconds / max(1, min(self.held, int(self.limit)))


@dataclass(eq=False)
class _Waiter:
    tenant: str
    batch: bool
    lane: _Lane
    turn: "asyncio.Future[None]" = field(init=False, repr=False)  # while it waits


class AdmissionQueue:
    """`places` for requests in progress, and for each lane its share even if all are taken.

    `reserved_share` of a request's time is kept for what comes after the answer is written.
    """

    def __init__(
        self, places: int, settings: AdmissionSettings, reserved_share: float = 0.0
    ) -> None:
        self.places = places
        self._late_share = reserved_share + LATE_SHARE
        self._settings = settings
        self._lanes: dict[str, _Lane] = {}
        self._held: Counter[str] = Counter()
        self._turns: dict[str, float] = {}
        self._now = 0.0
        self._waiting: list[_Waiter] = []

    @property
    def held(self) -> int:
        """Requests in progress."""
        return self._held.total()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def waiting_of(self, *, batch: bool) -> int:
        """Requests of one priority that wait."""
        return sum(waiter.batch == batch for waiter in self._waiting)

    def lanes(self) -> dict[str, tuple[int, int]]:
        """Each lane that was asked for: its limit, and the requests in progress."""
        return {name: (int(lane.limit), lane.held) for name, lane in self._lanes.items()}

    @asynccontextmanager
    async def place(self, context: RequestContext, lane: str) -> AsyncGenerator[None, None]:
        """Hold a place for the block, after a wait if necessary. Raises Overloaded."""
        waiter = _Waiter(context.tenant, context.batch, self._lane(lane))
        await self._enter(waiter, context.deadline)
        began, whole_s = time.monotonic(), context.deadline.remaining()
        try:
            yield
        finally:
            self._count(waiter, -1)
            waiter.lane.learn(time.monotonic() - began)
            if not context.batch:
                late = context.deadline.remaining() < self._late_share * whole_s
                least = min(self.places, self._settings.min_in_work)
                waiter.lane.adapt(least, self.places, late=late)
            self._admit()

    def check(self, context: RequestContext, lane: str | None = None) -> None:
        """Raise Overloaded if the request would be refused at once.

        Without a lane: only if it would be refused in every lane.
        """
        wanted = _Lane(float(self.places)) if lane is None else self._lane(lane)
        newcomer = _Waiter(context.tenant, context.batch, wanted)
        if not self._needs_no_wait(newcomer) and self._is_full(wanted):
            self._least_important(newcomer)

    def _lane(self, name: str) -> _Lane:
        return self._lanes.setdefault(name, _Lane(float(self.places)))

    def _is_full(self, lane: _Lane) -> bool:
        """Whether no more may wait, or none that came now would get its turn in time."""
        patience_s = self._settings.max_wait_ms / 1000
        too_long = not self._has_room(lane) and lane.wait_s(lane.waiting + 1) > patience_s
        return too_long or lane.waiting >= self._settings.max_waiting

    async def _enter(self, waiter: _Waiter, deadline: Deadline) -> None:
        if self._needs_no_wait(waiter):
            self._let_in(waiter)
            return
        if self._is_full(waiter.lane):
            self._make_room(waiter)
        waiter.turn = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        waiter.lane.waiting += 1
        self._admit()
        limit_s = min(self._settings.max_wait_ms / 1000, deadline.remaining() / 2)
        try:
            async with asyncio.timeout(limit_s):
                await waiter.turn
        except TimeoutError:
            self._forget(waiter)
            raise self._refusal(waiter.lane) from None
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def _forget(self, waiter: _Waiter) -> None:
        """It waits no longer: give back its place if its turn came at the same moment."""
        if waiter in self._waiting:
            self._unqueue(waiter)
        elif waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
            self._count(waiter, -1)
            self._admit()

    def _unqueue(self, waiter: _Waiter) -> None:
        self._waiting.remove(waiter)
        waiter.lane.waiting -= 1

    def _make_room(self, newcomer: _Waiter) -> None:
        """Refuse the waiter that matters least, or else the newcomer, by raising Overloaded."""
        last = self._least_important(newcomer)
        self._unqueue(last)
        last.turn.set_exception(self._refusal(last.lane))

    def _least_important(self, newcomer: _Waiter) -> _Waiter:
        """The waiter to refuse in place of the newcomer. Raises Overloaded if there is none."""
        lane, tenant = newcomer.lane, newcomer.tenant
        queue = [waiter for waiter in reversed(self._waiting) if waiter.lane is lane]
        waits = Counter(waiter.tenant for waiter in self._waiting)
        weight = {  # among equals the newest is refused: it comes first here
            (batch, name): (batch, waits[name] + self._held[name])
            for batch, name in dict.fromkeys((waiter.batch, waiter.tenant) for waiter in queue)
        }
        own = (newcomer.batch, waits[tenant] + self._held[tenant] + 1)
        last = max(weight, key=lambda kind: weight[kind], default=None)
        if last is None or weight[last] <= own:
            raise self._refusal(lane)
        return next(waiter for waiter in queue if (waiter.batch, waiter.tenant) == last)

    def _admit(self) -> None:
        """Give free places to those that go first."""
        while ready := [waiter for waiter in self._waiting if self._may_enter(waiter)]:
            first = min(ready, key=self._rank)
            self._unqueue(first)
            if first.turn.done():
                continue
            self._let_in(first)
            first.turn.set_result(None)
        # Tenants that are owed nothing are forgotten.
        self._turns = {name: turn for name, turn in self._turns.items() if turn > self._now}

    def _let_in(self, waiter: _Waiter) -> None:
        self._now = max(self._now, self._turns.get(waiter.tenant, 0.0))
        self._turns[waiter.tenant] = self._now + 1
        self._count(waiter, 1)

    def _count(self, waiter: _Waiter, places: int) -> None:
        """Take a place for it, or with -1 give it back."""
        self._held[waiter.tenant] += places
        if not self._held[waiter.tenant]:
            del self._held[waiter.tenant]
        waiter.lane.held += places
        waiter.lane.batch += places * waiter.batch

    def _rank(self, waiter: _Waiter) -> tuple[bool, int, float]:
        """The lowest goes first: by places held, then by how long ago the last turn was.

        Turns count in virtual time (start-time fair queueing; Goyal, Vin and Cheng 1996), so that
        a tenant that was away saves up nothing.
        """
        turn = max(self._now, self._turns.get(waiter.tenant, 0.0))
        return waiter.batch, self._held[waiter.tenant], turn

    def _needs_no_wait(self, newcomer: _Waiter) -> bool:
        """Whether it may enter, and no one waits in its lane."""
        return not newcomer.lane.waiting and self._may_enter(newcomer)

    def _may_enter(self, waiter: _Waiter) -> bool:
        lane, part = waiter.lane, self._settings.batch_share
        if not self._has_room(lane):
            return False
        if not waiter.batch:
            return True
        batch = sum(one.batch for one in self._lanes.values())
        own_fits = lane.batch < max(1, int(lane.limit * part))
        return own_fits and batch < max(1, int(self.places * part))

    def _has_room(self, lane: _Lane) -> bool:
        """Whether one more fits: into the lane's limit, and into all places or the lane's share.

        All shares together exceed the places at most once.
        """
        if lane.held >= int(lane.limit):
            return False
        held = self.held
        if held < self.places:
            return True
        lanes = {lane, *(one for one in self._lanes.values() if one.held)}
        return lane.held < self.places // len(lanes) and held < 2 * self.places

    def _refusal(self, lane: _Lane) -> Overloaded:
        message = f"{lane.held} such requests are in progress and {lane.waiting} wait"
        wait_s = lane.wait_s(lane.held + lane.waiting)
        retry_after_s = max(1, min(MAX_RETRY_AFTER_S, math.ceil(wait_s)))
        return Overloaded(message, code="overloaded", retry_after_s=retry_after_s)
