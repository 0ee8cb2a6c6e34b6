"""uvicorn as it serves every service: it wakes nobody more often than it must.

`services/middlewares.py` puts it in the place of uvicorn's own, which BentoML starts.
"""

import asyncio
from contextlib import suppress
from types import FrameType
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TICK_S = 1.0
HEAD = b"HTTP/1.1 "
MOST_BYTES = 1 << 16
"""Kept at most. More goes out at once, so that a slow reader makes the writer wait as before."""


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


class OneWriteProtocol(HttpToolsProtocol):
    """Lets what is answered in one turn of the event loop leave in one write.

    uvicorn makes a write of each ASGI message, and uvloop hands each to the kernel at once: of a
    response first its head, then its body; of a stream each chunk. Over TCP each wakes the client.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(cast("asyncio.Transport", _Gathering(transport, self.loop)))


class _Gathering:
    """A transport that keeps what is written until the end of the turn.

    A response's head takes the first of its body along at once: what the server does when it has
    answered, such as counting it, is nothing that a client should wait for.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        after_head = bool(self._kept) and self._kept[-1].startswith(HEAD)
        if not self._kept:
            self._loop.call_soon(self._flush)
        self._kept.append(data)
        self._size += len(data)
        if after_head or self._size > MOST_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        kept, self._kept, self._size = self._kept, [], 0
        if kept and not self._transport.is_closing():
            self._transport.write(b"".join(kept))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  all else is the transport's
        return getattr(self._transport, name)
