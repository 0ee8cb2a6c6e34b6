"""uvicorn as every service runs it. `services/middlewares.py` puts it in the place of its own."""

import asyncio
from contextlib import suppress
from types import FrameType

import uvicorn

TICK_S = 1.0


class QuietServer(uvicorn.Server):
    """Looks once a second for what uvicorn looks for ten times; a signal wakes it.

    Five services that tick so often take a hundredth of a core from the models, asked or not.
    """

    _wake: "asyncio.Event | None" = None

    async def main_loop(self) -> None:
        """Serve until the end."""
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        while not await self.on_tick(0):  # at 0 it renews the `date` of its answers
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End (a signal)."""
        super().handle_exit(sig, frame)
        if self._wake is not None:
            self._loop.call_soon_threadsafe(self._wake.set)
