"""The calling end of a hop: one connection pool to one service, over its unix socket or TCP.

Cancelling the caller closes the connection, and the other end stops its work. A call ends with a
message, or with a `TiffinError`: the one that the service raised, or `Unavailable` and
`DeadlineExceeded` from here.
"""

import asyncio
import io
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp
import msgspec

from tiffin import errors
from tiffin.context import RequestContext
from tiffin.ops import metrics
from tiffin.ops.limiter import Limiter
from tiffin.transport import wire

Reply = TypeVar("Reply")

IDLE_CONNECTION_S = 3.0
"""Kept below the 5 s after which the server closes an idle connection, so that we never send on
one that is being closed."""

ONE_WRITE_BYTES = 1 << 20

UNLIMITED = 1 << 30
"""Calls in flight of a client that was made without a limiter."""


class ServiceClient:
    """Calls one service. `url` is `file://<socket>` (composed) or `http://host:port` (split).

    `token` goes along over TCP.
    """

    def __init__(
        self, service: str, url: str, token: str | None = None, limiter: Limiter | None = None
    ) -> None:
        self._service = service
        self._url = url
        self._credentials = {wire.TOKEN_HEADER: token} if token else {}
        self._limiter = limiter or Limiter(f"calls to {service}", initial=UNLIMITED, most=UNLIMITED)
        self._session: aiohttp.ClientSession | None = None
        self._lost: str | None = None
        self._waits: set[asyncio.Timeout] = set()
        self._streams: set[aiohttp.StreamReader] = set()
        self._heard_at = 0.0

    @property
    def limiter(self) -> Limiter:
        """The bound on its calls in flight."""
        return self._limiter

    @property
    def lost(self) -> str | None:
        """Why the service is away (`tiffin.ops.readiness` says so); None when it is not."""
        return self._lost

    @lost.setter
    def lost(self, reason: str | None) -> None:
        """Calls of a service that is away end now, with Unavailable."""
        self._lost = reason
        if reason is not None:
            for stream in self._streams:
                stream.set_exception(errors.Unavailable(reason))
            now = asyncio.get_running_loop().time()
            for wait in self._waits:
                if not wait.expired():
                    wait.reschedule(now)

    def heard_since(self, moment: float) -> bool:
        """Whether the service has answered anything since a moment of `time.monotonic`."""
        return self._heard_at >= moment

    async def call(
        self, method: str, request: msgspec.Struct, reply: type[Reply], context: RequestContext
    ) -> Reply:
        """Send one message and decode the one that comes back."""
        self._count()
        with self._limiter.place(context.tenant), self._typed_failures(method):
            async with (
                self._waiting(context),
                await self._post(method, request, context) as response,
            ):
                body = await response.read()
        return self._decode(body, msgspec.msgpack.Decoder(reply))

    async def stream(
        self,
        method: str,
        request: msgspec.Struct,
        event: Any,  # noqa: ANN401  a union of structs is not a `type`
        context: RequestContext,
    ) -> AsyncGenerator[Any, None]:
        """Send one message and yield the events that come back, each as it arrives.

        A stream that stops before its end frame raises UpstreamFailed. One that passes its deadline
        ends when its consumer next waits for it, never while an event is held.
        """
        decoder = msgspec.msgpack.Decoder(event)
        self._count()
        with self._limiter.place(context.tenant) as sample, self._typed_failures(method):
            async with self._waiting(context):
                response = await self._post(method, request, context)
            with self._reading(response, context):
                came = bytearray()
                while True:
                    if (frame := wire.next_frame(came)) is None:
                        came += await _read_more(response)
                        self._heard_at = time.monotonic()
                        continue
                    kind, payload = frame
                    sample.done()
                    if kind == wire.FRAME_END:
                        await response.read()  # its end, which frees the connection
                        return
                    if kind == wire.FRAME_ERROR:
                        raise wire.decode_error(payload)
                    yield self._decode(payload, decoder)

    async def health(self, reply: type[Reply], timeout_s: float) -> Reply:
        """The service's own health message. Raises Unavailable when there is none in time."""
        url = self._base_url() + wire.HEALTH_PATH
        try:
            async with asyncio.timeout(timeout_s), self._open().get(url) as response:
                if response.status != HTTPStatus.OK:
                    raise await self._error_of(response)
                return self._decode(await response.read(), msgspec.msgpack.Decoder(reply))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise errors.Unavailable(f"{self._service} does not answer") from error

    async def close(self) -> None:
        """Close the connections. The client may be used again; it then opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _count(self) -> None:
        """A call is wanted, made or not: that wakes a service which has no replica."""
        metrics.series(metrics.calls_total, self._service).inc()

    async def _post(
        self, method: str, request: msgspec.Struct, context: RequestContext
    ) -> aiohttp.ClientResponse:
        """A response with status 200; any other is raised as the error it carries."""
        headers = {"content-type": wire.MESSAGE_TYPE, **wire.headers_of(context)}
        url = self._base_url() + wire.PREFIX + method
        body = wire.encode(request)
        # aiohttp writes bytes in one go, which would hold up every other call; a file in pieces.
        data = body if len(body) < ONE_WRITE_BYTES else io.BytesIO(body)
        response = await self._open().post(url, data=data, headers=headers)
        if response.status == HTTPStatus.OK:
            return response
        async with response:
            raise await self._error_of(response)

    @asynccontextmanager
    async def _waiting(self, context: RequestContext) -> AsyncGenerator[None, None]:
        """Wait for the service until the deadline, or until the service is lost."""
        if self._lost is not None:
            raise errors.Unavailable(self._lost)
        async with asyncio.timeout(context.deadline.remaining()) as wait:
            self._waits.add(wait)
            try:
                yield
                self._heard_at = time.monotonic()
            finally:
                self._waits.discard(wait)

    @contextmanager
    def _reading(
        self, response: aiohttp.ClientResponse, context: RequestContext
    ) -> Generator[None, None, None]:
        """Break the stream off at the deadline, or when the service is lost: one timer for it all.

        At its end the connection is closed, unless all was read: the service's work stops.
        """
        stream, left_s = response.content, context.deadline.remaining()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(left_s, stream.set_exception, TimeoutError())
        self._streams.add(stream)
        try:
            yield
        finally:
            timer.cancel()
            self._streams.discard(stream)
            response.close()

    @contextmanager
    def _typed_failures(self, method: str) -> Generator[None, None, None]:
        """Turn what asyncio and aiohttp raise into the errors that callers know."""
        try:
            yield
        except TimeoutError as error:
            if self._lost is not None:
                raise errors.Unavailable(self._lost) from error
            message = f"{self._service}.{method} did not answer before the deadline"
            raise errors.DeadlineExceeded(message) from error
        except aiohttp.ClientConnectorError as error:
            raise errors.Unavailable(f"{self._service} is not reachable") from error
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            raise errors.UpstreamFailed(f"{self._service}.{method} broke off") from error

    async def _error_of(self, response: aiohttp.ClientResponse) -> errors.TiffinError:
        body = await response.read()
        if response.headers.get("content-type") == wire.MESSAGE_TYPE:
            return wire.decode_error(body)
        # BentoML's own refusals: its concurrency limit (429), its timeout, a crash before our door.
        if response.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            return errors.Overloaded(f"{self._service} takes no more requests at once")
        return errors.UpstreamFailed(f"{self._service} answered with status {response.status}")

    def _decode(self, body: bytes, decoder: "msgspec.msgpack.Decoder[Reply]") -> Reply:
        try:
            return decoder.decode(body)
        except wire.MALFORMED as error:
            message = f"{self._service} answered in an unknown shape: {error}"
            raise errors.UpstreamFailed(message) from error

    def _base_url(self) -> str:
        return "http://service" if self._url.startswith("file:") else self._url.rstrip("/")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_connector(self._url),
                headers=self._credentials,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


async def _read_more(response: aiohttp.ClientResponse) -> bytes:
    """What came of a stream. Raises where it ended, for its last frame is read no further."""
    chunk: bytes = await response.content.readany()
    if not chunk:
        raise asyncio.IncompleteReadError(chunk, None)
    return chunk


def _connector(url: str) -> aiohttp.BaseConnector:
    # No limit on connections: the door of the entry service bounds the requests in flight.
    # Split, a load balancer chooses the replica of each connection: one connection a request
    # spreads the requests evenly, over new replicas as well, and none is sent to one that is gone.
    if url.startswith("file:"):
        path = url2pathname(urlsplit(url).path)
        return aiohttp.UnixConnector(path, limit=0, keepalive_timeout=IDLE_CONNECTION_S)
    return aiohttp.TCPConnector(limit=0, force_close=True)
