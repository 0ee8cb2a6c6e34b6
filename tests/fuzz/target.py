"""The weightless entry service on a TCP port, in a thread of its own, counting its answers."""

import asyncio
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.bento import http_server
from tests.support.services import Services, entry
from tests.support.stack import free_port
from tiffin.config.requests import LimitSettings
from tiffin.config.settings import load_settings


@dataclass
class Target:
    """A running server and the statuses that it has answered with."""

    port: int
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def failures(self) -> int:
        """Answers of 5xx other than the documented 503 and 504."""
        return sum(n for status, n in self.statuses.items() if status >= 500) - (
            self.statuses[503] + self.statuses[504]
        )


class _Counted:
    def __init__(self, app: ASGIApp, target: Target) -> None:
        self._app = app
        self._target = target

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._target.statuses[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counted)


@contextmanager
def running_target() -> Generator[Target, None, None]:
    """Serve until the block ends."""
    target = Target(free_port())
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        services = Services()
        async with entry(services, load_settings(profile="laptop")):
            assert services.front is not None
            config = uvicorn.Config(
                _Counted(services.front, target),
                host="127.0.0.1",
                port=target.port,
                log_config=None,
                lifespan="off",
                **http_server.options(LimitSettings()),
            )
            server = uvicorn.Server(config)
            task = asyncio.create_task(server._serve())  # noqa: SLF001  serve() takes the signals
            while not server.started:
                await asyncio.sleep(0.01)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.05)
            server.should_exit = True
            await task

    thread = threading.Thread(target=asyncio.run, args=[serve()], name="target")
    thread.start()
    try:
        assert ready.wait(30)
        yield target
    finally:
        stop.set()
        thread.join(30)
