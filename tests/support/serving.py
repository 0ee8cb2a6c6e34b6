"""Serves an ASGI app on a unix socket, with the server options of every service."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from services.bento import http_server
from tiffin.config.requests import LimitSettings


class _Server(uvicorn.Server):
    """Ends when it is told to; uvicorn looks every 100 ms, which hundreds of tests would wait."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Make the headers that every answer has, then wait."""
        await self.on_tick(0)
        await self.ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, which waits at least 100 ms, unless no one is connected."""
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()


@asynccontextmanager
async def served(app: ASGIApp, limits: LimitSettings | None = None) -> AsyncGenerator[str, None]:
    """The `file://` URL at which the app answers until the block ends."""
    async with all_served(app, limits=limits) as (url,):
        yield url


@asynccontextmanager
async def all_served(
    *apps: ASGIApp, limits: LimitSettings | None = None
) -> AsyncGenerator[list[str], None]:
    """The `file://` URLs of several apps, which start and stop together."""
    with tempfile.TemporaryDirectory(prefix="tiffin-test-") as directory:
        sockets = [Path(directory) / f"{number}.sock" for number in range(len(apps))]
        options = http_server.options(limits or LimitSettings())
        configs = [
            uvicorn.Config(app, uds=str(path), log_config=None, lifespan="off", **options)
            for app, path in zip(apps, sockets, strict=True)
        ]
        servers = [_Server(config) for config in configs]
        # serve() would take over the process's signals.
        tasks = [asyncio.create_task(server._serve()) for server in servers]  # noqa: SLF001
        while not all(server.started for server in servers):
            await asyncio.sleep(0.005)
        try:
            yield [path.as_uri() for path in sockets]
        finally:
            await asyncio.sleep(0.01)  # for the connections that clients have closed
            for server in servers:
                server.ending.set()
            await asyncio.gather(*tasks)
