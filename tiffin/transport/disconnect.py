"""Cancels the work for a client that left. Wraps every app of ours that answers HTTP.

ASGI servers only *tell* an app that its client is gone; a handler that waits for a model never
listens. This listens for it.
"""

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLIENT_CLOSED_REQUEST = 499
"""The status logged for a request whose client left before the response began."""

LOOPS_TO_HEAR = 5
"""Rounds of the event loop from a closed connection until a task that waits for it has run: the
socket is read, the protocol told, the reader woken, and its task's turn comes."""


class CancelOnDisconnect:
    """ASGI wrapper: runs the app, and cancels it when the client leaves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(receive, send).run(self._app, scope)


class _Exchange:
    """One request and its response, with one reader of `receive` at a time."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._body_read = asyncio.Event()
        self._gone = asyncio.Event()
        self._started = False
        self._finished = False
        self._cancelled = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        work = asyncio.current_task()
        assert work is not None  # noqa: S101  there always is one in a coroutine
        watch = asyncio.create_task(self._cancel_when_gone(work))
        try:
            await app(scope, self._receive_body, self._send_tracked)
        except asyncio.CancelledError:
            if self._cancelled:
                work.uncancel()
            if work.cancelling():  # by the server, as it ends
                raise
            await self._close_unanswered()
        finally:
            watch.cancel()

    async def _receive_body(self) -> Message:
        """What the app receives: the body, then nothing until the client leaves."""
        if self._body_read.is_set():
            await self._gone.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone.set()
        elif not message.get("more_body", False):
            self._body_read.set()
        return message

    async def _send_tracked(self, message: Message) -> None:
        if message.get("status") == HTTPStatus.GATEWAY_TIMEOUT and await self._has_left():
            message = {**message, "status": CLIENT_CLOSED_REQUEST}
        self._started = True
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._finished = True
        await self._send(message)

    async def _has_left(self) -> bool:
        """Whether the client has left, after a moment in which the event loop may hear of it.

        A caller whose patience is our deadline leaves as the deadline passes. Its request is then
        not one that it waited for in vain.
        """
        for _ in range(LOOPS_TO_HEAR):
            if self._gone.is_set():
                return True
            await asyncio.sleep(0)
        return self._gone.is_set()

    async def _cancel_when_gone(self, work: "asyncio.Task[None]") -> None:
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        # After the last byte the server reports the same message: then there is nothing to stop.
        if not self._finished:
            self._cancelled = True
            work.cancel()

    async def _close_unanswered(self) -> None:
        """End the exchange for the middlewares outside, which wait for a first message."""
        if not self._started:
            await self._send(
                {"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []}
            )
            await self._send({"type": "http.response.body", "body": b""})
