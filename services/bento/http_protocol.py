"""uvicorn's protocol, made safe against clients that break it. `http_server` installs it.

Why: uvicorn waits for ever for a request that has begun and for a client that does not read, takes
a head of any length, answers what it cannot read in plain text, sends chunks to HTTP/1.0, and loses
the body of a request that offers HTTP/2. What is no request never gets as far as a middleware: it
is answered here, in our shape. A request that comes whole in one piece, as nearly all do, sets no
timer.

Upstream: uvicorn#157 asks for the two timeouts and is closed without them. The rest is not
reported.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any

from httptools import HttpParserCallbackError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from tiffin.api.request_id import REQUEST_ID_HEADER, request_id_of
from tiffin.config.requests import LimitSettings
from tiffin.core.context import RequestContext
from tiffin.core.error_body import error_body
from tiffin.core.errors import HeadersTooLarge, InvalidRequest, RequestTimeout, TiffinError
from tiffin.transport import wire

FIRST_LOOK_S = 0.1
"""How long after a request began its app is sure to know the deadline that it names."""

SEPARATORS = 2
"""How many times longer a head may be than its names and values, which the limit counts."""

_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `limits` bound a request's time and head, and an unread answer's time.

    The answer of one service to another may wait until the request's deadline.
    """

    def __init__(self, *, limits: LimitSettings, **options: Any) -> None:  # noqa: ANN401  uvicorn's
        super().__init__(**options)
        self._limits = limits
        self._broken = False
        self._head_bytes = 0
        self._waits_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        self._read_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a request that is not complete yet may not take for ever."""
        if self._broken:
            return
        in_head = self._in_head()
        if (b"pgrade:" in data or b"PGRADE:" in data) and (in_head or not self._in_body()):
            data = _without_upgrade(data)
        super().data_received(data)
        if self._owes_an_answer() and not self._in_head() and not self.cycle.more_body:
            self._stop_waiting()
            return
        if in_head and self._in_head():
            self._head_bytes += len(data)
            self._check_head()
        else:
            self._head_bytes = 0
        if self._timer is None:
            self._wait()

    def pause_writing(self) -> None:
        """The client does not read, so its request would keep its place for as long as it likes."""
        super().pause_writing()
        if self._unread is None and not self.cycle.scope["path"].startswith(wire.PREFIX):
            send_s = self._limits.send_ms / 1000
            self._unread = self.loop.call_later(send_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read most of what was waiting for it."""
        super().resume_writing()
        self._read_on()

    def _read_on(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP (uvicorn calls this while it handles what the parser raised)."""
        error = sys.exc_info()[1]
        told = error is not None and not isinstance(error, HttpParserCallbackError)
        message = f"this is no HTTP request: {error}" if told else msg
        self._refuse(InvalidRequest(message, code="invalid_http"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if cycle.scope["http_version"] == "1.0":
            app = _without_chunks(app, cycle)
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def _in_head(self) -> bool:
        """Whether a request has begun to arrive that uvicorn has not begun to answer."""
        cycle = self.cycle
        return self.scope is not (None if cycle is None else cycle.scope)

    def _in_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body

    def _owes_an_answer(self) -> bool:
        """Whether a request is in flight, or waits for an earlier one."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._waits_since = time.monotonic()
        self._timer = self.loop.call_later(FIRST_LOOK_S, self._look)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Give up on a request whose time is over, or check again when it will be."""
        now = time.monotonic()
        left_s = self._waits_since + self._limits.receive_ms / 1000 - now
        context = None if self._in_head() or self.cycle is None else _context_of(self.cycle)
        if context is not None and context.deadline_named:
            left_s = min(left_s, context.deadline.remaining())
        if self.flow.read_paused or (self._in_head() and self._owes_an_answer()):
            left_s = max(left_s, FIRST_LOOK_S)  # we must read on, or answer first
        if left_s > 0:
            self._timer = self.loop.call_later(left_s, self._look)
            return
        self._timer = None
        if not (self._in_head() or self._owes_an_answer()):
            self.transport.close()  # nothing was asked, or it is answered without its body
            return
        what = "headers" if self._in_head() else "body"
        waited_ms = round((now - self._waits_since) * 1000)
        message = f"{what}: not all of it had come after {waited_ms:,} ms"
        self._refuse(RequestTimeout(message, param=what, code="request_timeout"))

    def _check_head(self) -> None:
        limit = self._limits.header_bytes
        if self._head_bytes > SEPARATORS * limit:
            message = f"headers: more than {self._head_bytes:,} bytes, the limit is {limit:,}"
            self._refuse(HeadersTooLarge(message, param="headers", code="too_long"))

    def _refuse(self, error: TiffinError) -> None:
        """Answer in place of the app, and close the connection."""
        if self.transport.is_closing():
            return
        cycle, owed = self.cycle, self._owes_an_answer()
        if owed:
            if self._in_head():  # the client would take it for the answer to the earlier request
                self._broken, cycle.keep_alive = True, False
                return
            cycle.disconnected = True
            cycle.message_event.set()
        if not owed or not (cycle.response_started or self.pipeline):
            self.transport.write(self._refusal(error))
        self.transport.close()

    def _refusal(self, error: TiffinError) -> bytes:
        body = json.dumps(error_body(error)).encode()
        lines = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            (REQUEST_ID_HEADER.encode(), request_id_of(Headers(raw=self.headers or [])).encode()),
        ]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
        return STATUS_LINE[error.status] + head + b"\r\n" + body


def _without_upgrade(data: bytes) -> bytes:
    """The head without its offer of another protocol, which Java's client makes in a first request.

    No offer is accepted here, and httptools reads no body after one.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head) + end + rest


def _context_of(cycle: RequestResponseCycle) -> RequestContext | None:
    """The context that the entry service's app has made of the request's headers."""
    state: dict[str, Any] = cycle.scope.get("state", {})
    return state.get("context")


def _without_chunks(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """The app for a client of HTTP/1.0: its answer ends where the connection does."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        sized = False

        async def send_plain(message: Message) -> None:
            nonlocal sized
            if message["type"] == "http.response.start":
                sized = any(name.lower() == b"content-length" for name, _ in message["headers"])
                if not sized:
                    cycle.chunked_encoding = False
            elif not sized:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return run
