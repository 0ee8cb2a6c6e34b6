"""Watches whether the services behind the entry service are ready, beside the requests.

`/readyz` and every question ask what was last seen instead of asking the services, so that a dead
or stopped service costs nobody a wait.
"""

import asyncio
import logging
from collections.abc import Mapping

from tiffin.errors import TiffinError
from tiffin.transport.client import ServiceClient
from tiffin.transport.messages import ServiceHealth

logger = logging.getLogger(__name__)

PERIOD_S = 0.5
TIMEOUT_S = 0.4
"""A service that does not answer within this counts as not ready: seen within one second."""

STARTING = "starting"


class Readiness:
    """The last seen state of every service, by name.

    `optional` ones are waited for at the start, and may go missing later.
    """

    def __init__(
        self, clients: Mapping[str, ServiceClient], optional: frozenset[str] = frozenset()
    ) -> None:
        self._clients = clients
        self._optional = optional
        self._states = dict.fromkeys(clients, STARTING)
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
            if state == STARTING or (state != "ready" and name not in self._optional)
        ]

    async def _watch(self) -> None:
        while True:
            await asyncio.gather(*(self._check(name) for name in self._clients))
            await asyncio.sleep(PERIOD_S)

    async def _check(self, name: str) -> None:
        try:
            health = await self._clients[name].health(ServiceHealth, TIMEOUT_S)
            state = "ready" if health.ready else health.detail or "not ready"
        except TiffinError as error:
            # Until a service has been seen, silence means that it still loads.
            state = STARTING if self._states[name] == STARTING else error.message
        if state != self._states[name]:
            logger.info("%s: %s", name, state)
            self._states[name] = state
