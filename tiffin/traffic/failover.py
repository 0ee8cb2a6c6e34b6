"""Keeps a failing tier from taking every request down with it: breakers and the retry budget.

`tiffin.pipeline.generate` asks before each attempt and tells how it ended. All state is of one
process, and none of it outlives it.

    closed --failures in a row, or Retry-After--> open --time passes--> half-open: one request
       ^------------------ it succeeds ------------------------------------'  fails: open again
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from tiffin.config.routing import FailoverSettings
from tiffin.core.errors import UNSUPPORTED_PARAMETER, DeadlineExceeded, TiffinError, Unavailable
from tiffin.telemetry import logs, metrics

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


@dataclass
class Breaker:
    """Of one tier. Times are of a monotonic clock, in seconds."""

    tier: str
    failures_to_open: int
    open_s: float
    clock: Clock = time.monotonic
    _failures: int = 0
    _open_until: float = 0.0
    _probing: bool = False
    _told: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the tier is left alone now."""
        return self.waits_s() > 0 or self._probing

    def waits_s(self) -> float:
        """Seconds until it may be asked again."""
        return max(0.0, self._open_until - self.clock())

    def told_s(self) -> float:
        """Seconds until the tier's own Retry-After is over; 0 if it named none."""
        return self.waits_s() if self._told else 0.0

    def enter(self, *, last: bool = False) -> None:
        """Before an attempt. Raises Unavailable while open; lets one request try when half-open.

        The last tier that could be asked is asked all the same, unless it said when to come back:
        refusing would help nobody, and the tier may be well again.
        """
        if self.is_open and (self._told or not last):
            wait_s = max(1, round(self.waits_s()))
            raise Unavailable(f"the {self.tier} tier has not answered lately", retry_after_s=wait_s)
        self._probing = self._open_until > 0

    def succeeded(self) -> None:
        """The tier began to answer."""
        if self._open_until:
            self._show("closed", "it answers again")
        self._failures, self._open_until, self._probing, self._told = 0, 0.0, False, False

    def failed(self, retry_after_s: float | None = None, why: str = "") -> None:
        """It could not answer; if it said for how long, it is left alone until then."""
        self._failures += 1
        self._told = retry_after_s is not None
        was_open = self._open_until > 0
        if retry_after_s is not None:
            self._open_until = self.clock() + retry_after_s
        elif self._probing or self._failures >= self.failures_to_open:
            self._open_until = self.clock() + self.open_s
        if self._open_until and not was_open:
            self._show("open", why)
        self._probing = False

    def left(self) -> None:
        """The caller left before the tier could answer: nothing is known of the tier."""
        self._probing = False

    @asynccontextmanager
    async def bounded(self, limit_s: float, late: str) -> AsyncGenerator[None, None]:
        """Enter, and tell how the block ends; for a call without retries and other tiers.

        Raises Unavailable while open, and DeadlineExceeded with the message `late` at the limit.
        """
        self.enter()
        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError as error:
            self.failed(why="it was late")
            raise DeadlineExceeded(late) from error
        except TiffinError as error:
            self.failed(error.retry_after_s, error.message)
            raise
        except BaseException:
            self.left()
            raise
        self.succeeded()

    def _show(self, now: str, why: str) -> None:
        """Tell the operator: in the log, and in metrics."""
        metrics.series(metrics.breaker_open, self.tier).set(now == "open")
        metrics.series(metrics.breaker_changes_total, self.tier, now).inc()
        told = logs.fields(tier=self.tier)
        logger.warning("the circuit breaker of a tier is %s: %s", now, why, extra=told)


@dataclass
class RetryBudget:
    """Lets `share` of the requests be tried again: each request earns that much of a retry.

    Begins with one retry, and saves up at most ten, so that a calm hour does not pay for a storm.
    """

    share: float
    saved: float = 1.0

    def earn(self) -> None:
        """A first attempt was made."""
        self.saved = min(10.0, self.saved + self.share)

    def spend(self) -> bool:
        """Whether a retry is allowed; if so, it is spent."""
        if self.share == 0 or self.saved < 1:
            return False
        self.saved -= 1
        return True


@dataclass
class Failover:
    """The breaker and the retry budget of each tier."""

    settings: FailoverSettings = field(default_factory=FailoverSettings)
    clock: Clock = time.monotonic
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _budgets: dict[str, RetryBudget] = field(default_factory=dict)

    def breaker(self, tier: str) -> Breaker:
        """Made when it is first asked for."""
        if tier not in self._breakers:
            self._breakers[tier] = Breaker(
                tier,
                self.settings.breaker_failures,
                self.settings.breaker_open_ms / 1000,
                self.clock,
            )
        return self._breakers[tier]

    def budget(self, tier: str) -> RetryBudget:
        """Made when it is first asked for."""
        return self._budgets.setdefault(tier, RetryBudget(self.settings.retry_share))

    def any_closed(self, tiers: Iterable[str]) -> bool:
        """Whether another tier could be asked now."""
        return any(not self.breaker(tier).is_open for tier in tiers)


def is_callers(error: TiffinError) -> bool:
    """Whether the request is at fault, and not the tier."""
    return error.status < HTTPStatus.TOO_MANY_REQUESTS


def is_final(error: TiffinError) -> bool:
    """Whether no other tier would help either."""
    return is_callers(error) and error.code != UNSUPPORTED_PARAMETER
