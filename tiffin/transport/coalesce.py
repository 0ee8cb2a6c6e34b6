"""Sends the body of a streamed response in as few messages as possible.

Each message of a stream passes every middleware, becomes a write to a socket and may wake its
reader, all of which costs more than what it carries. Used by every stream: in `server` here and in
`tiffin.api.sse`.
"""

import asyncio

from starlette.types import Send


class WriteCoalescer:
    """Sends in one piece what was written in one turn of the event loop, or within `every_s`.

    A reader that does not keep up holds up `write`, and with it the writer.
    """

    def __init__(self, send: Send, every_s: float = 0.0) -> None:
        self._send = send
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._kept = b""
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    async def write(self, data: bytes) -> None:
        """Send it together with what is written at about the same time."""
        self._kept += data
        if self._sending is not None:
            await self._sending
        if self._timer is None:
            wait_s = self._sent_at + self._every_s - self._loop.time()
            self._timer = self._loop.call_later(max(0.0, wait_s), self._start_sending)

    async def end(self, data: bytes = b"") -> None:
        """Send what is left and end the body; nothing may be written after it."""
        self.stop()
        data, self._kept = self._kept + data, b""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def stop(self) -> None:
        """Send nothing more, unless `end` is called."""
        if self._timer is not None:
            self._timer.cancel()

    def _start_sending(self) -> None:
        self._timer = None
        self._sent_at = self._loop.time()
        self._sending = self._loop.create_task(self._send_kept())

    async def _send_kept(self) -> None:
        data, self._kept = self._kept, b""
        if data:  # `end` may have sent it already
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
