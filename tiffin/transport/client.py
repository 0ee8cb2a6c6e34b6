"""The calling end of a hop: typed messages to one service, over its unix socket or TCP.

Cancelling the caller closes the connection, and the other end stops its work. A call ends with a
message, or with a `TiffinError`: the one that the service raised, or `Unavailable` and
`DeadlineExceeded` from here.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec

from tiffin.core import errors
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.telemetry import metrics
from tiffin.transport import wire
from tiffin.transport.connections import Answer, Connections, GivenUp, NotReachable, Request
from tiffin.transport.tcp import TcpConnections
from tiffin.transport.unix import UnixConnections

Reply = TypeVar("Reply")

# Cached: building a decoder costs as much as decoding twenty events. A union of structs is no
# `type`.
_decoder: Callable[[Any], "msgspec.msgpack.Decoder[Any]"] = cache(msgspec.msgpack.Decoder)


def connections_to(url: str, headers: Mapping[str, str]) -> Connections:
    """The connections to `file://<socket>`, `http://host:port` or `https://...`.

    `headers` go along with every request.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return UnixConnections(url2pathname(parts.path), headers)
    return TcpConnections(url, headers)


class ServiceClient:
    """Calls one service. `url` is `file://<socket>` (composed) or `http://host:port` (split).

    `token` is sent along; only TCP needs it.
    """

    def __init__(self, service: str, url: str, token: str | None = None) -> None:
        self._service = service
        self._connections = connections_to(url, {wire.TOKEN_HEADER: token} if token else {})
        self._lost: str | None = None

    @property
    def lost(self) -> str | None:
        """Why the service is away, as `tiffin.lifecycle.readiness` found; None if it is there."""
        return self._lost

    @lost.setter
    def lost(self, reason: str | None) -> None:
        """Calls to a service that is away end now, with Unavailable."""
        self._lost = reason
        if reason is not None:
            self._connections.give_up(reason)

    def heard_since(self, moment: float) -> bool:
        """Whether the service has answered anything since a moment of `time.monotonic`."""
        return self._connections.heard_at >= moment

    async def call(
        self, method: str, request: msgspec.Struct, reply: type[Reply], context: RequestContext
    ) -> Reply:
        """Send one message and decode the one that comes back."""
        self._count()
        try:
            with await self._post(method, request, context) as answer:
                await self._check_status(answer)
                body = await answer.rest()
        except OSError as error:
            raise self._failure(method, error) from error
        message: Reply = self._decode(body, _decoder(reply))
        return message

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
        decoder = _decoder(event)
        self._count()
        try:
            with await self._post(method, request, context) as answer:
                await self._check_status(answer)
                while True:
                    if (frame := wire.next_frame(answer.body)) is None:
                        await answer.more()
                        continue
                    kind, payload = frame
                    if kind == wire.FRAME_END:
                        return
                    if kind == wire.FRAME_ERROR:
                        raise wire.decode_error(payload)
                    yield self._decode(payload, decoder)
        except OSError as error:
            raise self._failure(method, error) from error

    async def health(self, reply: type[Reply], timeout_s: float) -> Reply:
        """The service's own health message. Raises Unavailable when there is none in time."""
        try:
            asked = Request(wire.HEALTH_PATH, Deadline.after(timeout_s))
            with await self._connections.ask(asked) as answer:
                await self._check_status(answer)
                health: Reply = self._decode(await answer.rest(), _decoder(reply))
                return health
        except OSError as error:
            raise errors.Unavailable(f"{self._service} does not answer") from error

    async def close(self) -> None:
        """Close the connections. The client may be used again; it then opens new ones."""
        await self._connections.close()

    def _count(self) -> None:
        """Count a wanted call, even if it is not made: this wakes a service that has no replica."""
        metrics.series(metrics.calls_total, self._service).inc()

    async def _post(self, method: str, request: msgspec.Struct, context: RequestContext) -> Answer:
        """The answer, once it has begun, whatever it says."""
        if self._lost is not None:
            raise errors.Unavailable(self._lost)
        headers = {"content-type": wire.MESSAGE_TYPE, **wire.headers_of(context)}
        path, body = wire.PREFIX + method, wire.encode(request)
        return await self._connections.ask(Request(path, context.deadline, headers, body))

    def _failure(self, method: str, error: OSError) -> errors.TiffinError:
        """What a connection raised, as the error that callers know."""
        if isinstance(error, TimeoutError):
            message = f"{self._service}.{method} did not answer before the deadline"
            return errors.DeadlineExceeded(message)
        if isinstance(error, GivenUp):
            return errors.Unavailable(str(error))
        if isinstance(error, NotReachable):
            return errors.Unavailable(f"{self._service} is not reachable")
        return errors.UpstreamFailed(f"{self._service}.{method} broke off")

    async def _check_status(self, answer: Answer) -> None:
        """Raises the error that an answer carries, unless it has status 200."""
        status = answer.status
        if status == HTTPStatus.OK:
            return
        body = await answer.rest()
        if answer.content_type == wire.MESSAGE_TYPE:
            raise wire.decode_error(body)
        # BentoML's own refusals: its concurrency limit (429), or a crash before our dispatcher.
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            raise errors.Overloaded(f"{self._service} takes no more requests at once")
        raise errors.UpstreamFailed(f"{self._service} answered with status {status}")

    def _decode(self, body: bytes, decoder: "msgspec.msgpack.Decoder[Any]") -> Any:  # noqa: ANN401
        try:
            return decoder.decode(body)
        except wire.MALFORMED as error:
            message = f"{self._service} answered in an unknown shape: {error}"
            raise errors.UpstreamFailed(message) from error
