"""Watches whether the services behind the entry service are ready, beside the requests.

`/readyz` and every question ask what was last seen instead of asking the services, so that a dead
or stopped service makes no one wait. The client of a service that went silent is told: its calls
end at once, and new ones are refused until the service is back.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

from tiffin.core.errors import TiffinError
from tiffin.core.messages import ServiceHealth
from tiffin.lifecycle.drain import Drain
from tiffin.telemetry import logs, metrics
from tiffin.transport.client import ServiceClient

logger = logging.getLogger(__name__)

PERIOD_S = 0.25
IDLE_PERIOD_S = 1.0
"""Between two probes while no requests arrive: each takes CPU time from the models."""

TIMEOUT_S = 0.35
OWN_LAG_S = 0.1
MISSES = 2
"""Probes in a row, the second one at once, that a service must leave unanswered to count as away:
seen within a second of a request (0.25 + 2 * 0.35 s), and one late answer on a busy machine does
not matter."""

STARTING = "starting"
ASLEEP = "asleep"
READY = "ready"

State = Literal["ready", "degraded", "down"]


class Readiness:
    """The last seen state of every service, by name.

    `requests` says whether there are any requests. `optional` services are waited for at the start,
    and may go missing later. One of `any_of` must be ready, optional or not. Those of `may_sleep`
    are not waited for at all: they may have no replica until someone asks for them.
    """

    def __init__(
        self,
        clients: Mapping[str, ServiceClient],
        requests: Drain,
        optional: frozenset[str] = frozenset(),
        any_of: frozenset[str] = frozenset(),
        may_sleep: frozenset[str] = frozenset(),
    ) -> None:
        self._clients = clients
        self._requests = requests
        self._optional = optional
        self._any_of = any_of
        self._states = {name: ASLEEP if name in may_sleep else STARTING for name in clients}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="readiness")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def services(self) -> dict[str, str]:
        """`ready`, or why not, for each service."""
        return dict(self._states)

    def missing(self) -> list[str]:
        """The services that a question needs and that are not ready."""
        return [
            name
            for name, state in self._states.items()
            if state == STARTING or (state != READY and name not in self._optional)
        ]

    def state(self) -> State:
        """`degraded` when questions are answered, but not by everything."""
        ready = {name for name, state in self._states.items() if state == READY}
        if self.missing() or (self._any_of and not self._any_of & ready):
            return "down"
        return "ready" if len(ready) == len(self._states) else "degraded"

    async def _watch(self) -> None:
        await asyncio.gather(*(self._follow(name) for name in self._clients))

    async def _follow(self, name: str) -> None:
        misses = 0
        while True:
            began, came = time.monotonic(), self._requests.came
            try:
                health = await self._clients[name].health(ServiceHealth, TIMEOUT_S)
                misses = 0
                self._note(name, READY if health.ready else health.detail or "not ready")
            except TiffinError as error:
                misses = misses + 1 if self._is_silent(name, began) else 0
                if misses >= MISSES:
                    self._note(name, error.message)
            if misses != 1:
                await self._rest(name, came)

    async def _rest(self, name: str, came: int) -> None:
        """Wait for the next probe, which comes sooner if more than `came` requests have come."""
        await asyncio.sleep(PERIOD_S)
        asked = self._requests.in_work or self._requests.came != came
        if self._states[name] == READY and not asked:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_PERIOD_S - PERIOD_S):
                    await self._requests.next_request()

    def _is_silent(self, name: str, since: float) -> bool:
        """Whether an unanswered probe says anything.

        It does not when a call was answered meanwhile, or when this process itself was held up.
        """
        held_up = time.monotonic() - since > TIMEOUT_S + OWN_LAG_S
        return not held_up and not self._clients[name].heard_since(since)

    def _note(self, name: str, state: str) -> None:
        before = self._states[name]
        # Until a service has been seen ready, silence means that it still loads.
        if state == before or (before == STARTING and state != READY):
            return
        level = logging.INFO if state in {READY, ASLEEP} else logging.WARNING
        logger.log(level, "%s: %s", name, state, extra=logs.fields(service=name))
        metrics.series(metrics.service_ready, name).set(state == READY)
        self._states[name] = state
        self._clients[name].lost = None if state == READY else state
