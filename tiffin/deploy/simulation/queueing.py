"""Simulates the queues of one service's replicas, event by event.

A request goes to the replica with the fewest requests, as a load balancer would send it. A replica
has `parallel` slots. A free slot takes up to `batch` waiting requests at once, which end together,
like a token batcher on a processor that is busy with one batch. The first of them takes its service
time, each further one the share `marginal` of its own. An LLM takes one request in each slot.

Service times are those of a replica with cores of its own, as on a cluster. If other programs use
the cores as well, a `Speed` says how much is left.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tiffin.config.scaling import Scaling
from tiffin.config.services import Signal
from tiffin.deploy.simulation.autoscaler import PERIOD_S, Autoscaler

WINDOW_S = 60.0
"""The window over which rate and latency are measured."""


@dataclass(frozen=True)
class Work:
    """What one request costs a replica."""

    service_s: float
    spread: float = 0.0
    """The standard deviation of service times, as a share of their mean."""
    parallel: int = 1
    batch: int = 1
    marginal: float = 1.0
    """What each further request of a batch costs, as a share of one alone."""


Speed = Callable[[float], float]
"""Gives the share of a core that a replica gets, at a time, when it wants one."""


def _undisturbed(_: float) -> float:
    return 1.0


@dataclass(frozen=True)
class Moment:
    """The state of the service at one decision of the autoscaler."""

    at_s: float
    ready: int
    replicas: int
    queue: int
    rate_per_s: float
    p95_s: float


@dataclass
class Outcome:
    """What became of a trace."""

    latencies_s: list[float]
    moments: list[Moment]
    replica_s: float
    """Replica seconds that were paid for, including those of starting replicas."""
    idle_s: float = 0.0
    """Of `replica_s`, the seconds in which a replica had no request."""
    cold: int = 0
    """Requests that arrived while no replica was ready."""


@dataclass(eq=False)
class _Replica:
    ready: bool
    leaving: bool = False
    waiting: deque[float] = field(default_factory=deque)
    busy: int = 0
    in_work: int = 0

    @property
    def in_hand(self) -> int:
        return len(self.waiting) + self.in_work


class Simulation:
    """Runs one trace against one service. With `replicas` given, their number does not change."""

    def __init__(
        self,
        arrivals: Sequence[float],
        work: Work,
        scaling: Scaling,
        signals: tuple[Signal, ...],
        *,
        replicas: int | None = None,
        speed: Speed = _undisturbed,
        seed: int = 0,
    ) -> None:
        self._arrivals = arrivals
        self._work = work
        self._scaling = scaling
        self._scaler = Autoscaler(scaling, signals) if replicas is None else None
        self._speed = speed
        self._chance = random.Random(seed)  # noqa: S311  repeatable, no secret
        self._replicas = [_Replica(ready=True) for _ in range(replicas or scaling.min)]
        self._unplaced: deque[float] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._recent: deque[tuple[float, float]] = deque()
        self._came: deque[float] = deque()
        self._outcome = Outcome([], [], 0.0)

    def run(self) -> Outcome:
        """Simulate until the last request has ended."""
        for at in self._arrivals:
            self._at(at, self._arrive)
        self._at(PERIOD_S, self._decide)
        while self._events and len(self._outcome.latencies_s) < len(self._arrivals):
            at, _, event = heapq.heappop(self._events)
            self._pay(at - self._now)
            self._now = at
            event()
        return self._outcome

    def _pay(self, seconds: float) -> None:
        idle = sum(replica.in_hand == 0 for replica in self._replicas)
        self._outcome.replica_s += len(self._replicas) * seconds
        self._outcome.idle_s += idle * seconds

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _arrive(self) -> None:
        self._came.append(self._now)
        open_ones = [r for r in self._replicas if not r.leaving]
        ready = [r for r in open_ones if r.ready]
        self._outcome.cold += not ready
        if not open_ones:
            self._unplaced.append(self._now)
            return
        chosen = min(ready or open_ones, key=lambda replica: replica.in_hand)
        chosen.waiting.append(self._now)
        self._serve(chosen)

    def _serve(self, replica: _Replica) -> None:
        work = self._work
        while replica.ready and replica.waiting and replica.busy < work.parallel:
            count = min(work.batch, len(replica.waiting))
            came = [replica.waiting.popleft() for _ in range(count)]
            replica.busy += 1
            replica.in_work += count
            first, *others = (self._service_time() for _ in came)
            # A batch keeps the speed that it starts with, because batches are short.
            took = (first + work.marginal * sum(others)) / self._speed(self._now)
            self._at(self._now + took, lambda came=came: self._finish(replica, came))  # type: ignore[misc]

    def _service_time(self) -> float:
        if self._work.spread == 0:
            return self._work.service_s
        shape = 1 / self._work.spread**2
        return self._chance.gammavariate(shape, self._work.service_s / shape)

    def _finish(self, replica: _Replica, came: list[float]) -> None:
        replica.busy -= 1
        replica.in_work -= len(came)
        for at in came:
            self._outcome.latencies_s.append(self._now - at)
            self._recent.append((self._now, self._now - at))
        self._serve(replica)
        if replica.leaving and replica.in_hand == 0 and replica in self._replicas:
            self._replicas.remove(replica)

    def _decide(self) -> None:
        while self._recent and self._recent[0][0] < self._now - WINDOW_S:
            self._recent.popleft()
        while self._came and self._came[0] < self._now - WINDOW_S:
            self._came.popleft()
        staying = [r for r in self._replicas if not r.leaving]
        queue = len(self._unplaced) + sum(replica.in_hand for replica in self._replicas)
        p95_s = percentile([latency for _, latency in self._recent], 95)
        rate = len(self._came) / min(WINDOW_S, self._now)
        ready = sum(replica.ready for replica in staying)
        self._outcome.moments.append(Moment(self._now, ready, len(staying), queue, rate, p95_s))
        if self._scaler is not None:
            measured: dict[Signal, float] = {
                "request_rate_per_s": rate,
                "queue_depth": float(queue),
                "latency_p95_ms": 1000 * p95_s,
                "first_token_p95_ms": 1000 * p95_s,
                "gpu_percent": 100 * sum(r.busy > 0 for r in staying) / max(1, len(staying)),
            }
            self._become(self._scaler.decide(self._now, len(staying), measured), staying)
        self._at(self._now + PERIOD_S, self._decide)

    def _become(self, wanted: int, staying: list[_Replica]) -> None:
        for _ in range(wanted - len(staying)):
            fresh = _Replica(ready=False, waiting=self._unplaced)
            self._unplaced = deque()
            self._replicas.append(fresh)
            self._at(self._now + self._scaling.start_s, lambda r=fresh: self._start(r))  # type: ignore[misc]
        for replica in sorted(staying, key=lambda r: (r.ready, r.in_hand))[: len(staying) - wanted]:
            replica.leaving = True
            if replica.in_hand == 0:
                self._replicas.remove(replica)

    def _start(self, replica: _Replica) -> None:
        replica.ready = True
        self._serve(replica)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed; 0 if there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]
