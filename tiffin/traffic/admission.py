"""The entry service's door: who comes in, who waits, who is refused. Used by `tiffin.api`.

So many questions are in work at once; so many more may wait, for so long. Interactive ones go
before batch ones; among equals the tenant that holds least goes first, so that one tenant's flood
delays only itself. When the queue is full, a question takes the place of one that matters less, or
is refused, with the time after which a retry is worth it.

Each stage that a request may ask for (a tier, a policy, `embed`, `rerank`) has a limit and a queue
of its own in that. Its limit falls when its answers come late, and grows back while they come in
time (additive increase, multiplicative decrease; Chiu and Jain 1989). A stage that holds less than
its share of the places is let in when all are taken: one that hangs delays only those who ask it.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tiffin.config.resilience import AdmissionSettings
from tiffin.core.context import Deadline, RequestContext
from tiffin.core.errors import Overloaded

EMBED, RERANK = "embed", "rerank"
"""The stages of requests that ask for no tier."""

DECREASE = 0.8
DECREASE_EVERY_S = 1.0
LATE_SHARE = 0.01
"""An answer is late when less of its time is left than what comes after it needs, and this share:
then it was probably cut off."""

MAX_RETRY_AFTER_S = 60
MEMORY = 0.1
"""Weight of the newest question in the average time that one is in work."""


@dataclass(eq=False)
class _Stage:
    """What is known of one stage: how much of it may be, and is, in work, and how much waits."""

    limit: float
    held: int = 0
    batch: int = 0
    waiting: int = 0
    seconds: float = 0.0
    decreased: float = 0.0

    def learn(self, took_s: float) -> None:
        """How long the newest question was in work."""
        self.seconds += MEMORY * (took_s - self.seconds) if self.seconds else took_s

    def adapt(self, least: float, most: float, *, late: bool) -> None:
        """Lower the limit for an answer that was late, at most so often; else raise it a little."""
        now = time.monotonic()
        if not late:
            self.limit = min(most, self.limit + 1 / self.limit)
        elif now - self.decreased >= DECREASE_EVERY_S:
            self.decreased = now
            self.limit = max(least, self.limit * DECREASE)

    def wait_s(self, questions: int) -> float:
        """Until so many of it will probably be through."""
        return questions * self.seconds / max(1, min(self.held, int(self.limit)))


@dataclass(eq=False)
class _Waiter:
    tenant: str
    batch: bool
    stage: _Stage
    turn: "asyncio.Future[None]" = field(init=False, repr=False)  # while it waits


class AdmissionQueue:
    """`places` for the questions in work; a share of them for each stage although all are taken.

    `reserved_share` of a request's time is kept for what comes after the answer is written.
    """

    def __init__(
        self, places: int, settings: AdmissionSettings, reserved_share: float = 0.0
    ) -> None:
        self.places = places
        self._late_share = reserved_share + LATE_SHARE
        self._settings = settings
        self._stages: dict[str, _Stage] = {}
        self._held: Counter[str] = Counter()
        self._turns: dict[str, float] = {}
        self._now = 0.0
        self._waiting: list[_Waiter] = []

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

    def stages(self) -> dict[str, tuple[int, int]]:
        """Of each stage asked for, the questions that may be in work, and those that are."""
        return {name: (int(stage.limit), stage.held) for name, stage in self._stages.items()}

    @asynccontextmanager
    async def place(self, context: RequestContext, stage: str) -> AsyncGenerator[None, None]:
        """Hold a place for the block, after a wait if need be. Raises Overloaded."""
        waiter = _Waiter(context.tenant, context.batch, self._stage(stage))
        await self._enter(waiter, context.deadline)
        began, whole_s = time.monotonic(), context.deadline.remaining()
        try:
            yield
        finally:
            self._count(waiter, -1)
            waiter.stage.learn(time.monotonic() - began)
            if not context.batch:
                late = context.deadline.remaining() < self._late_share * whole_s
                least = min(self.places, self._settings.min_in_work)
                waiter.stage.adapt(least, self.places, late=late)
            self._admit()

    def check(self, context: RequestContext, stage: str | None = None) -> None:
        """Raise Overloaded if the request would be refused at once; costs nothing else.

        Without a stage: if it would be whatever it asked for.
        """
        wanted = _Stage(float(self.places)) if stage is None else self._stage(stage)
        newcomer = _Waiter(context.tenant, context.batch, wanted)
        if not self._needs_no_wait(newcomer) and self._is_full(wanted):
            self._least_important(newcomer)

    def _stage(self, name: str) -> _Stage:
        return self._stages.setdefault(name, _Stage(float(self.places)))

    def _is_full(self, stage: _Stage) -> bool:
        """Whether as many wait as may, or as will be through before their patience ends."""
        patience_s = self._settings.max_wait_ms / 1000
        too_long = not self._has_room(stage) and stage.wait_s(stage.waiting + 1) > patience_s
        return too_long or stage.waiting >= self._settings.max_waiting

    async def _enter(self, waiter: _Waiter, deadline: Deadline) -> None:
        if self._needs_no_wait(waiter):
            self._let_in(waiter)
            return
        if self._is_full(waiter.stage):
            self._make_room(waiter)
        waiter.turn = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        waiter.stage.waiting += 1
        self._admit()
        limit_s = min(self._settings.max_wait_ms / 1000, deadline.remaining() / 2)
        try:
            async with asyncio.timeout(limit_s):
                await waiter.turn
        except TimeoutError:
            self._forget(waiter)
            raise self._refusal(waiter.stage) from None
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def _forget(self, waiter: _Waiter) -> None:
        """It waits no longer: give back its place if its turn came in the same moment."""
        if waiter in self._waiting:
            self._unqueue(waiter)
        elif waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
            self._count(waiter, -1)
            self._admit()

    def _unqueue(self, waiter: _Waiter) -> None:
        self._waiting.remove(waiter)
        waiter.stage.waiting -= 1

    def _make_room(self, newcomer: _Waiter) -> None:
        """Send away the waiter that matters least, if it matters less. Raises Overloaded if not."""
        last = self._least_important(newcomer)
        self._unqueue(last)
        last.turn.set_exception(self._refusal(last.stage))

    def _least_important(self, newcomer: _Waiter) -> _Waiter:
        """Who goes in place of the newcomer. Raises Overloaded if nobody matters less."""
        stage, tenant = newcomer.stage, newcomer.tenant
        queue = [waiter for waiter in reversed(self._waiting) if waiter.stage is stage]
        waits = Counter(waiter.tenant for waiter in self._waiting)
        weight = {  # of equals the newest goes: it comes first here
            (batch, name): (batch, waits[name] + self._held[name])
            for batch, name in dict.fromkeys((waiter.batch, waiter.tenant) for waiter in queue)
        }
        own = (newcomer.batch, waits[tenant] + self._held[tenant] + 1)
        last = max(weight, key=lambda kind: weight[kind], default=None)
        if last is None or weight[last] <= own:
            raise self._refusal(stage)
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
        """It takes a place, or with -1 gives it back."""
        self._held[waiter.tenant] += places
        if not self._held[waiter.tenant]:
            del self._held[waiter.tenant]
        waiter.stage.held += places
        waiter.stage.batch += places * waiter.batch

    def _rank(self, waiter: _Waiter) -> tuple[bool, int, float]:
        """Lowest goes first: who holds least, then whose last turn is longest ago.

        Turns count in virtual time (start-time fair queueing; Goyal, Vin and Cheng 1996), so that
        a tenant that was away saves up nothing.
        """
        turn = max(self._now, self._turns.get(waiter.tenant, 0.0))
        return waiter.batch, self._held[waiter.tenant], turn

    def _needs_no_wait(self, newcomer: _Waiter) -> bool:
        """Whether it may enter, and nobody waits for the same before it."""
        return not newcomer.stage.waiting and self._may_enter(newcomer)

    def _may_enter(self, waiter: _Waiter) -> bool:
        stage, part = waiter.stage, self._settings.batch_share
        if not self._has_room(stage):
            return False
        if not waiter.batch:
            return True
        batch = sum(one.batch for one in self._stages.values())
        own_fits = stage.batch < max(1, int(stage.limit * part))
        return own_fits and batch < max(1, int(self.places * part))

    def _has_room(self, stage: _Stage) -> bool:
        """Whether one more fits: into the stage's limit, and into all places or its share of them.

        All shares together pass the places once.
        """
        if stage.held >= int(stage.limit):
            return False
        held = self.held
        if held < self.places:
            return True
        stages = {stage, *(one for one in self._stages.values() if one.held)}
        return stage.held < self.places // len(stages) and held < 2 * self.places

    def _refusal(self, stage: _Stage) -> Overloaded:
        message = f"{stage.held} questions of the kind are in work and {stage.waiting} wait"
        wait_s = stage.wait_s(stage.held + stage.waiting)
        retry_after_s = max(1, min(MAX_RETRY_AFTER_S, math.ceil(wait_s)))
        return Overloaded(message, code="overloaded", retry_after_s=retry_after_s)
