"""HTTP/1.1 to one service, over its unix socket or TCP. `client` sends its messages through it.

A general HTTP client makes and checks for each request what is the same for all of a hop
(docs/decisions/0067). The parser is llhttp.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Self, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohappyeyeballs
import httptools
from aiohappyeyeballs import AddrInfoType

from tiffin.core.context import Deadline

IDLE_CONNECTION_S = 3.0
"""Kept below the 5 s after which the server closes an idle connection, so that we never send on
one that is being closed."""

CONNECT_S = 5.0
ADDRESSES_S = 10.0
"""So long the addresses of a name are believed."""

NEXT_ADDRESS_S = 0.25
"""After so long without a connection the name's next address is tried as well (RFC 8305)."""

ONE_WRITE_BYTES = 1 << 16
MOST_UNREAD_BYTES = 1 << 18
"""A service that writes faster than its caller reads is held up from here on."""


class NotReachable(ConnectionError):
    """There is no connection to the service."""


class GivenUp(ConnectionError):
    """The service is away, so nobody waits for its answers any longer."""


class Connection(asyncio.Protocol):
    """One connection with one request at a time on it. Made, and taken back, by `Connections`.

    What came is read before a failure is raised. At the end of a `with` block the request is over.
    """

    def __init__(self, owner: "Connections") -> None:
        self.body = bytearray()
        """What has come of the answer's body; who reads it may take it out."""
        self.status = 0
        self.content_type = ""
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._complete = False
        self._reusable = False
        self._paused = False
        self._failure: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reader: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._owner.end(self)

    @property
    def new(self) -> bool:
        """Whether it has not been connected yet."""
        return self._transport is None

    def ask(self, head: bytes, body: bytes, deadline: Deadline) -> None:
        """Send a request, which fails at the deadline."""
        self.body = bytearray()
        self.status, self.content_type = 0, ""
        self._complete = self._reusable = False
        self._timer = self._loop.call_later(deadline.remaining(), self.fail, TimeoutError())
        if self._failure is not None:
            return
        assert self._transport is not None  # noqa: S101  it is connected
        if len(body) < ONE_WRITE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    async def answered(self) -> None:
        """Wait for the head of the answer."""
        while not self.status:
            await self._change()

    async def more(self) -> None:
        """Wait for more of the body. Raises ConnectionError where it has ended."""
        had = len(self.body)
        while len(self.body) == had:
            if self._complete:
                message = "the answer has ended"
                raise ConnectionError(message)
            await self._change()

    async def rest(self) -> bytes:
        """All of the body that was not taken, once its end has come."""
        while not self._complete:
            await self._change()
        return bytes(self.body)

    def fail(self, error: Exception) -> None:
        """Give up: the service's work stops, and whoever waits gets the error."""
        if self._failure is None:
            self._failure = error
        self.close()
        self._wake()

    def end(self) -> bool:
        """The request is over. Whether another may follow it."""
        if self._timer is not None:
            self._timer.cancel()
        return self._complete and self._reusable and self._failure is None

    def close(self) -> None:
        """Close at once, whatever has not gone out yet."""
        if self._transport is not None:
            self._transport.abort()

    async def _change(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        self._reader = self._loop.create_future()
        await self._reader

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready, unless it was given up meanwhile."""
        self._transport = cast("asyncio.Transport", transport)
        if self._failure is not None:
            self.close()

    def data_received(self, data: bytes) -> None:
        """A part of the answer."""
        self._owner.heard_at = time.monotonic()
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
        """The other end has closed, or we have."""
        self._owner.forget(self)
        if self._failure is None:
            self._failure = exc or ConnectionResetError("the connection was closed")
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins. Raises ConnectionError where nothing was asked."""
        if self._complete:
            message = "an answer to nothing"
            raise ConnectionError(message)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        if name.lower() == b"content-type":
            self.content_type = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there."""
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self.body += data

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._complete = True
        self._reusable = self._parser.should_keep_alive()


class Connections:
    """All connections to one service: `file://<socket>`, `http://host:port` or `https://...`.

    There are as many as requests at once. Those of a unix socket are kept for the next. Over TCP
    each request has its own: a load balancer chooses the replica of each connection, so requests
    spread evenly, over new replicas as well, and none is sent to one that is gone. `headers` go
    along with every request.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._socket = url2pathname(parts.path) if parts.scheme == "file" else None
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = "" if self._socket else parts.path.rstrip("/")
        named = {"host": "service"} if self._socket else {"host": parts.netloc}
        kept = {} if self._socket else {"connection": "close"}
        self._always = _lines({**named, **kept, **headers})
        self._idle: dict[Connection, float] = {}
        self._busy: set[Connection] = set()
        self._addresses: list[AddrInfoType] = []
        self._resolved_at = 0.0
        self.heard_at = 0.0
        """When anything last came from the service, by `time.monotonic`."""

    async def post(
        self, path: str, headers: Mapping[str, str], body: bytes, deadline: Deadline
    ) -> Connection:
        """The connection whose answer has begun; the caller must `end` it, best by `with`.

        Raises NotReachable, TimeoutError at the deadline, and GivenUp. So does whoever reads on,
        and any other OSError where the connection breaks.
        """
        rest = f"content-length: {len(body)}\r\n{_lines(headers)}"
        return await self._ask(f"POST {self._prefix}{path}", rest, body, deadline)

    async def get(self, path: str, deadline: Deadline) -> Connection:
        """As `post`, for what takes no body."""
        return await self._ask(f"GET {self._prefix}{path}", "", b"", deadline)

    async def _ask(self, request: str, lines: str, body: bytes, deadline: Deadline) -> Connection:
        head = f"{request} HTTP/1.1\r\n{self._always}{lines}\r\n".encode("latin-1")
        connection = self._kept() or Connection(self)
        self._busy.add(connection)
        try:
            if connection.new:
                await self._connect(connection, deadline)
            connection.ask(head, body, deadline)
            await connection.answered()
        except BaseException:
            self.end(connection)
            raise
        return connection

    def end(self, connection: Connection) -> None:
        """Keep it for the next request; unless its answer was read whole, close it."""
        self._busy.discard(connection)
        if connection.end() and self._socket:
            self._idle[connection] = time.monotonic()
        else:
            connection.close()

    def give_up(self, reason: str) -> None:
        """All requests in work end now, with GivenUp."""
        for connection in tuple(self._busy):
            connection.fail(GivenUp(reason))

    def forget(self, connection: Connection) -> None:
        """A connection was closed."""
        self._idle.pop(connection, None)

    async def close(self) -> None:
        """Close all connections, those in use too."""
        for connection in (*self._busy, *self._idle):
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # for the event loop to close them

    def _kept(self) -> Connection | None:
        oldest = time.monotonic() - IDLE_CONNECTION_S
        while self._idle:
            connection, since = self._idle.popitem()
            if since > oldest:
                return connection
            connection.close()
        return None

    async def _connect(self, connection: Connection, deadline: Deadline) -> None:
        """Connect it to the service. Raises NotReachable, and TimeoutError at the deadline."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(deadline.remaining(), CONNECT_S)):
                if self._socket is not None:
                    await loop.create_unix_connection(lambda: connection, self._socket)
                    return
                raw = await aiohappyeyeballs.start_connection(
                    await self._resolved(), happy_eyeballs_delay=NEXT_ADDRESS_S
                )
                name = self._host if self._tls else None
                await loop.create_connection(
                    lambda: connection, sock=raw, ssl=self._tls, server_hostname=name
                )
        except OSError as error:
            if isinstance(error, TimeoutError) and not deadline.remaining():
                raise
            raise NotReachable(str(error)) from error

    async def _resolved(self) -> list[AddrInfoType]:
        """The service's addresses, another one first each time."""
        now = time.monotonic()
        if not self._addresses or now > self._resolved_at + ADDRESSES_S:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._addresses, self._resolved_at = list(found), now
        self._addresses.append(self._addresses.pop(0))
        return list(self._addresses)


def _lines(headers: Mapping[str, str]) -> str:
    """Header lines. Raises ValueError for a value that is more than one."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        message = "a header is one line"
        raise ValueError(message)
    return lines
