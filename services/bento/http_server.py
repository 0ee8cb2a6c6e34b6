"""uvicorn as every service runs it; `services/bento/middlewares.py` puts it in place of its own."""

import asyncio
from contextlib import suppress
from functools import partial

import uvicorn

from services.bento.http_protocol import BoundedProtocol
from tiffin.config.requests import LimitSettings

TICK_S = 1.0


class QuietServer(uvicorn.Server):
    """Looks once a second for what uvicorn looks for ten times; a signal wakes it.

    Five services that tick so often take a hundredth of a core from the models, asked or not.
    """

    _wake: "asyncio.Event | None" = None
    _ends = False

    def __init__(self, config: uvicorn.Config, limits: LimitSettings | None = None) -> None:
        config.http = partial(BoundedProtocol, limits=limits or LimitSettings())  # type: ignore[assignment]
        config.ws = "none"  # no service has a WebSocket; uvicorn would refuse one in plain text
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        """Whether it is to end. Setting it, as a signal does, wakes the loop."""
        return self._ends

    @should_exit.setter
    def should_exit(self, ends: bool) -> None:
        self._ends = ends
        if self._wake is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def main_loop(self) -> None:
        """Serve until the end."""
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        while not await self.on_tick(0):  # at 0 it renews the `date` of its answers
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
