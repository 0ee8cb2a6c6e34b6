"""HTTP/1.1 to one service over its unix socket, the way of every hop of a composed deployment.

A general HTTP client makes and checks for each request what is the same for all requests of a hop,
which doubles what a hop costs (docs/decisions/0067). The parser is llhttp.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import cast

import httptools

from tiffin.core.deadline import Deadline
from tiffin.transport.connections import (
    CONNECT_S,
    MOST_UNREAD_BYTES,
    Answer,
    Connections,
    NotReachable,
    Request,
)

IDLE_CONNECTION_S = 3.0
"""Kept below the 5 s after which the server closes an idle connection, so that we never send on
one that is being closed."""

ONE_WRITE_BYTES = 1 << 16


class UnixConnection(Answer, asyncio.Protocol):
    """One connection, with one request at a time on it."""

    def __init__(self, owner: "UnixConnections") -> None:
        super().__init__(owner)
        self._connections = owner
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reusable = False
        self._paused = False

    async def send(self, request: Request) -> None:
        """Send the request, over a new connection if it has none yet."""
        self._reusable = False
        if self._transport is None:
            await self._connections.connect(self, request.deadline)
        if self._failure is not None:
            return
        assert self._transport is not None  # noqa: S101  it is connected
        head, body = self._connections.head_of(request), request.body or b""
        if len(body) < ONE_WRITE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def end(self) -> None:
        """Keep the connection if another request may follow, and close it otherwise."""
        super().end()
        if self._complete and self._reusable and self._failure is None:
            self._connections.keep(self)
        else:
            self.close()

    def close(self) -> None:
        """Close at once, whatever has not gone out yet."""
        if self._transport is not None:
            self._transport.abort()

    def _read_on(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # The event loop calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is connected, perhaps to no use any more."""
        self._transport = cast("asyncio.Transport", transport)
        if self._failure is not None:
            self.close()

    def data_received(self, data: bytes) -> None:
        """A part of the answer has arrived."""
        self._connections.heard_at = time.monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(ConnectionError(f"this is no HTTP answer: {error}"))
            return
        too_much = len(self.body) > MOST_UNREAD_BYTES and not self._complete
        if too_much and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """One of the two ends has closed it."""
        self._connections.forget(self)
        if self._failure is None:
            self._failure = exc or ConnectionResetError("the connection was closed")
        self._wake()

    # The parser calls these.

    def on_message_begin(self) -> None:
        """An answer begins. Raises ConnectionError if nothing was asked."""
        if self._complete:
            raise ConnectionError("an answer to nothing")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        if name.lower() == b"content-type":
            self.content_type = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self.body += data

    def on_message_complete(self) -> None:
        """The whole answer has arrived."""
        self._complete = True
        self._reusable = self._parser.should_keep_alive()


class UnixConnections(Connections):
    """As many as there are requests at once; each is kept for the next request.

    `headers` go along with every request.
    """

    def __init__(self, socket: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._socket = socket
        self._always = _lines({"host": "service", **headers})
        self._idle: dict[UnixConnection, float] = {}

    def head_of(self, request: Request) -> bytes:
        """The head of a request as it goes out."""
        body, lines = request.body, _lines(request.headers)
        length = "" if body is None else f"content-length: {len(body)}\r\n"
        first = f"{request.method} {request.path} HTTP/1.1\r\n"
        return f"{first}{self._always}{length}{lines}\r\n".encode("latin-1")

    async def connect(self, connection: UnixConnection, deadline: Deadline) -> None:
        """Connect it to the service. Raises NotReachable, and TimeoutError at the deadline."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(deadline.remaining(), CONNECT_S)):
                await loop.create_unix_connection(lambda: connection, self._socket)
        except OSError as error:
            if isinstance(error, TimeoutError) and not deadline.remaining():
                raise
            raise NotReachable(str(error)) from error

    def keep(self, connection: UnixConnection) -> None:
        """A connection may be used again."""
        self._idle[connection] = time.monotonic()

    def forget(self, connection: UnixConnection) -> None:
        """A connection was closed."""
        self._idle.pop(connection, None)

    async def close(self) -> None:
        """Close every connection, including those in use."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        await super().close()

    def _answer(self) -> UnixConnection:
        oldest = time.monotonic() - IDLE_CONNECTION_S
        while self._idle:
            connection, since = self._idle.popitem()
            if since > oldest:
                return connection
            connection.close()
        return UnixConnection(self)


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
