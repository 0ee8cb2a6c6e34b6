"""How the entry service ends: it is not ready at once, finishes the work in flight, then goes.

`services/rag.py` makes one and hands it the signals; `tiffin.api.app` puts `DrainMiddleware` in
front of the routes, which counts the requests in flight and refuses new ones while the drain lasts.
`tiffin.lifecycle.readiness` probes the services more often while there are requests.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from tiffin.config.resilience import SupervisionSettings
from tiffin.core.errors import Unavailable

logger = logging.getLogger("bentoml.service.tiffin")

ABORT_S = 2.0
"""Time for the requests that are cut off at the drain limit to say so to their clients."""

PROBES = frozenset({"/livez", "/healthz", "/readyz", "/health", "/ping"})
"""The paths that tell whether the service is alive and ready."""

UNCOUNTED = PROBES | {"/metrics"}

Refuse = Callable[[Unavailable], ASGIApp]


class Drain:
    """The state of ending, from the first SIGTERM on."""

    def __init__(self) -> None:
        self.began = False
        self.in_work = 0
        self.came = 0
        self._next: asyncio.Event | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._refusing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def refusing(self) -> bool:
        """Whether new requests are refused."""
        return self._refusing

    def on_signals(
        self, limits: SupervisionSettings, cut_off: Callable[[], Awaitable[None]]
    ) -> None:
        """From now on SIGTERM and SIGINT start a drain; a second one ends the process at once.

        `cut_off` ends what is still in flight at the drain limit. Then the earlier handlers (the
        server's own) are called.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            loop.add_signal_handler(number, self._on_signal, number, before, limits, cut_off)

    def _on_signal(
        self,
        number: int,
        before: Any,  # noqa: ANN401  what signal.getsignal gives
        limits: SupervisionSettings,
        cut_off: Callable[[], Awaitable[None]],
    ) -> None:
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._end(number, before, limits, cut_off))
        elif callable(before):
            before(number, None)

    async def _end(
        self,
        number: int,
        before: Any,  # noqa: ANN401
        limits: SupervisionSettings,
        cut_off: Callable[[], Awaitable[None]],
    ) -> None:
        self.began = True
        logger.info("draining: %d requests in flight", self.in_work)
        await asyncio.sleep(limits.drain_notice_ms / 1000)
        self._refusing = True
        if not await self._is_idle(limits.drain_ms / 1000):
            logger.warning("drain limit: cutting off %d requests", self.in_work)
            await cut_off()
            await self._is_idle(ABORT_S)
        if callable(before):
            before(number, None)

    async def _is_idle(self, limit_s: float) -> bool:
        """Wait until nothing is in flight; False if the limit passes first."""
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def next_request(self) -> None:
        """Wait until one arrives."""
        if self._next is None:
            self._next = asyncio.Event()
        await self._next.wait()

    @contextmanager
    def work(self) -> Generator[None, None, None]:
        """Count the block as one request in flight."""
        self.in_work += 1
        self.came += 1
        if self._next is not None:
            self._next.set()
            self._next = None
        self._idle.clear()
        try:
            yield
        finally:
            self.in_work -= 1
            if not self.in_work:
                self._idle.set()


class DrainMiddleware:
    """ASGI middleware: counts the requests in flight; refuses new ones while the drain lasts."""

    def __init__(self, app: ASGIApp, *, drain: Drain, refuse: Refuse) -> None:
        self._app = app
        self._drain = drain
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        if self._drain.refusing:
            error = Unavailable("the server is shutting down", code="shutting_down")
            await self._refuse(error)(scope, receive, send)
            return
        with self._drain.work():
            await self._app(scope, receive, send)
