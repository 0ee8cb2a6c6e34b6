"""The answering end of a hop: one ASGI app a service, with its typed methods.

`services/` makes one `RpcApp` a service, registers the service's methods on it and mounts it with
`tiffin.transport.dispatcher`. A method takes a message and the request's context and returns a
message (`unary`) or yields messages (`stream`). The work is cancelled when the caller leaves or its
deadline passes.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from prometheus_client import Histogram
from starlette.types import Receive, Scope, Send

from tiffin import __version__
from tiffin.core import errors
from tiffin.core.context import RequestContext
from tiffin.core.messages import ServiceHealth
from tiffin.core.model_errors import from_model_error
from tiffin.telemetry import logs, metrics, tracing
from tiffin.traffic.in_flight import Admission
from tiffin.transport import wire
from tiffin.transport.coalesce import WriteCoalescer
from tiffin.transport.disconnect import CancelOnDisconnect

logger = logging.getLogger(__name__)

Request = TypeVar("Request", bound=msgspec.Struct)
Reply = TypeVar("Reply", bound=msgspec.Struct)
UnaryHandler = Callable[[Request, RequestContext], Awaitable[Reply]]
StreamHandler = Callable[[Request, RequestContext], AsyncGenerator[Reply, None]]

WHOLE_EVERY_S = 0.1
"""How often events are sent to a caller that reads the answer whole. Each time wakes it, which
costs more than the event itself, on cores that the model could use."""


@dataclass(frozen=True)
class _Method:
    decoder: "msgspec.msgpack.Decoder[Any]"
    unary: "UnaryHandler[Any, Any] | None" = None
    stream: "StreamHandler[Any, Any] | None" = None


class RpcApp:
    """The methods of one service under `wire.PREFIX`. Methods are added before it serves.

    At most `max_in_flight` requests run or wait inside; the next one is refused at once. Over TCP a
    request must bring `token`, and if there is no token, none is served; a unix socket is private
    to the user that runs the services.
    """

    def __init__(
        self, service: str, *, max_body_bytes: int, max_in_flight: int, token: str | None = None
    ) -> None:
        self._service = service
        self._admission = Admission(max_in_flight, f"requests to {service}")
        self._max_body_bytes = max_body_bytes
        self._token = token
        self._methods: dict[str, _Method] = {}
        self.paths = {wire.HEALTH_PATH}
        self._health: Callable[[], Awaitable[ServiceHealth]] | None = None
        self._app = CancelOnDisconnect(self._answer)

    def unary(
        self, name: str, request: type[Request], handler: "UnaryHandler[Request, Reply]"
    ) -> None:
        """Answer `name` with one message."""
        self._add(name, _Method(msgspec.msgpack.Decoder(request), unary=handler))

    def stream(
        self, name: str, request: type[Request], handler: "StreamHandler[Request, Reply]"
    ) -> None:
        """Answer `name` with a stream of messages."""
        self._add(name, _Method(msgspec.msgpack.Decoder(request), stream=handler))

    def _add(self, name: str, method: _Method) -> None:
        self._methods[name] = method
        self.paths.add(wire.PREFIX + name)

    def health(self, check: Callable[[], Awaitable[ServiceHealth]]) -> None:
        """Answer health checks with this; until it is set the service is not ready."""
        self._health = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = _Reply(send)
        try:
            self._check_caller(scope)
            if scope["path"] == wire.HEALTH_PATH:
                await reply.message(await self._check_health())
                return
            with self._admission.place(), metrics.working(self._service):
                reply.observe(metrics.series(metrics.service_seconds, self._service))
                method, request, context = await self._read(scope, receive)
                logs.request_id.set(context.request_id)
                name = f"{self._service}.{scope['path'].removeprefix(wire.PREFIX)}"
                span = tracing.span(name, context.traceparent, tracing.Kind.SERVER)
                with span:
                    await self._run(method, request, span.within(context), reply)
        except TimeoutError:
            await reply.error(errors.DeadlineExceeded(f"{self._service}: the deadline passed"))
        except errors.TiffinError as error:
            await reply.error(error)
        except Exception as error:
            translated = from_model_error(error)
            if isinstance(translated, errors.UpstreamFailed):
                logger.exception("%s failed", scope["path"])
            await reply.error(translated)

    async def _run(
        self,
        method: _Method,
        request: Any,  # noqa: ANN401  a message of the method's type
        context: RequestContext,
        reply: "_Reply",
    ) -> None:
        async with asyncio.timeout(context.deadline.remaining()):
            if method.unary is not None:
                await reply.message(await method.unary(request, context))
            elif method.stream is not None:
                every_s = WHOLE_EVERY_S if context.whole else 0.0
                await reply.events(method.stream(request, context), every_s)

    def _check_caller(self, scope: Scope) -> None:
        if not _is_tcp(scope):
            return
        if self._token is None:
            raise errors.Forbidden(
                f"{self._service} has no internal token and serves none over TCP"
            )
        token = dict(scope["headers"]).get(wire.TOKEN_HEADER.encode())
        if token is None:
            raise errors.Unauthenticated(f"{self._service} needs the internal token")
        if not hmac.compare_digest(token, self._token.encode()):
            raise errors.Forbidden(f"{self._service} has another internal token")

    async def _check_health(self) -> ServiceHealth:
        starting = ServiceHealth(ready=False, detail="starting")
        health = starting if self._health is None else await self._health()
        return msgspec.structs.replace(
            health, service=self._service, version=__version__, protocol=wire.PROTOCOL
        )

    async def _read(self, scope: Scope, receive: Receive) -> "tuple[_Method, Any, RequestContext]":
        name = scope["path"].removeprefix(wire.PREFIX)
        method = self._methods.get(name)
        if method is None:
            known = ", ".join(sorted(self._methods)) or "none yet: it is starting"
            raise errors.NotFound(f"{self._service} has no method {name!r}; it has: {known}")
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"").split(b";")[0].strip()
        if content_type != wire.MESSAGE_TYPE.encode():
            raise errors.UnsupportedMedia(f"services read {wire.MESSAGE_TYPE} only")
        body = await self._read_body(receive)
        try:
            return method, method.decoder.decode(body), wire.context_of(headers)
        except wire.MALFORMED as error:
            raise errors.InvalidRequest(f"{self._service}.{name}: {error}") from error

    async def _read_body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body_bytes:
                raise errors.BodyTooLarge(f"the message passes {self._max_body_bytes} bytes")
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


def _is_tcp(scope: Scope) -> bool:
    """Whether a request came over the network: a unix socket's address has no port."""
    server = scope.get("server")
    return server is not None and server[1] is not None


class _Reply:
    """One response: a message, a stream of frames, or an error in the shape begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._stream: WriteCoalescer | None = None
        self._began = time.monotonic()
        self._histogram: Histogram | None = None

    def observe(self, histogram: Histogram) -> None:
        """Record how long the answer, or the first event of a stream, takes from here."""
        self._began, self._histogram = time.monotonic(), histogram

    async def message(self, message: msgspec.Struct) -> None:
        await self._whole(200, wire.encode(message))

    async def events(self, events: AsyncGenerator[msgspec.Struct, None], every_s: float) -> None:
        """Send a frame for each event; those of one moment, or of `every_s`, go together."""
        stream = WriteCoalescer(self._send, every_s)
        try:
            async with aclosing(events):
                async for event in events:
                    if self._stream is None:
                        await self._start(200, wire.STREAM_TYPE)
                        self._stream = stream
                    await stream.write(wire.frame(wire.FRAME_EVENT, wire.encode(event)))
        finally:
            stream.stop()
        if self._stream is None:
            await self._start(200, wire.STREAM_TYPE)
        await stream.end(wire.frame(wire.FRAME_END))

    async def error(self, error: errors.TiffinError) -> None:
        payload = wire.encode_error(error)
        if self._stream is None:
            await self._whole(error.status, payload)
        else:
            await self._stream.end(wire.frame(wire.FRAME_ERROR, payload))

    async def _whole(self, status: int, body: bytes) -> None:
        await self._start(status, wire.MESSAGE_TYPE)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _start(self, status: int, content_type: str) -> None:
        if self._histogram is not None:
            self._histogram.observe(time.monotonic() - self._began)
        headers = [(b"content-type", content_type.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
