"""HTTP/1.1 to one service over TCP or TLS by aiohttp, the way of every hop of a split deployment.

Each request has its own connection: a load balancer chooses a replica for each connection, so
requests spread evenly, also over new replicas, and none is sent to a replica that is gone
(docs/decisions/0071).
"""

import asyncio
import io
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit

import aiohttp

from tiffin.transport.connections import (
    CONNECT_S,
    MOST_UNREAD_BYTES,
    Answer,
    Connections,
    NotReachable,
    Request,
)

ADDRESSES_S = 10
"""How long the addresses of a name are believed."""

NEXT_ADDRESS_S = 0.25
"""How long to wait for a connection before the name's next address is tried too (RFC 8305)."""


class TcpAnswer(Answer):
    """One request. A task of its own reads the answer, so that cancelling it ends every wait."""

    def __init__(self, owner: "TcpConnections") -> None:
        super().__init__(owner)
        self._connections = owner
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()

    async def send(self, request: Request) -> None:
        """Begin to send the request and to read its answer."""
        self._task = self._loop.create_task(self._read(request))

    def end(self) -> None:
        """Close the connection: no other request follows on it."""
        super().end()
        self.close()

    def close(self) -> None:
        """Close the connection, whatever has not gone out yet."""
        if self._task is not None:
            self._task.cancel()

    async def _read(self, request: Request) -> None:
        try:
            async with self._connections.sending(request) as response:
                self.content_type = response.headers.get("content-type", "")
                self.status = response.status
                self._came()
                async for data in response.content.iter_any():
                    self.body += data
                    self._came()
                    if len(self.body) > MOST_UNREAD_BYTES:
                        self._room.clear()
                        await self._room.wait()
            self._complete = True
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._failure = self._failure or NotReachable(str(error))
        except aiohttp.ClientResponseError as error:
            message = f"this is no HTTP answer: {error.message}"
            self._failure = self._failure or ConnectionError(message)
        except (aiohttp.ClientError, OSError) as error:
            self._failure = self._failure or ConnectionError(str(error))
        finally:
            self._wake()

    def _came(self) -> None:
        self._connections.heard_at = time.monotonic()
        self._wake()

    def _read_on(self) -> None:
        self._room.set()


class TcpConnections(Connections):
    """One for each request, spread over the addresses of the service's name.

    `url` is `http://host:port` or `https://...`; `headers` go along with every request.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._url = url.rstrip("/")
        self._always = {"host": urlsplit(url).netloc, "connection": "close", **headers}
        self._session: aiohttp.ClientSession | None = None

    def sending(self, request: Request) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Sends the request; the block has its answer, and is its connection's life."""
        if self._session is None:
            self._session = _session()
        return self._session.request(
            request.method,
            self._url + request.path,
            headers={**self._always, **request.headers},
            # For bytes of a megabyte aiohttp warns that they hold up the event loop.
            data=None if request.body is None else io.BytesIO(request.body),
            allow_redirects=False,
        )

    async def close(self) -> None:
        """Close every connection, including those in use. Who is cancelled here has closed them."""
        session, self._session = self._session, None
        try:
            await super().close()
        finally:
            if session is not None:
                await session.close()

    def _answer(self) -> TcpAnswer:
        return TcpAnswer(self)


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,
        force_close=True,
        ttl_dns_cache=ADDRESSES_S,
        happy_eyeballs_delay=NEXT_ADDRESS_S,
        resolver=aiohttp.ThreadedResolver(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("user-agent", "accept", "accept-encoding"),
        auto_decompress=False,
    )
