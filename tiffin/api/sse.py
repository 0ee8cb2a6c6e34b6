"""Server-sent events. JSON is ASCII-escaped, so no chunk boundary splits a character."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from tiffin.api.errors import translate
from tiffin.core.error_body import error_body
from tiffin.transport.coalesce import WriteCoalescer

MEDIA_TYPE = "text/event-stream"

HEAD_AFTER_S = 2.0
"""A stream that has nothing to say for so long sends its head. What fails before has a status of
its own, by which clients know whether to try again; what fails later is a frame."""

QUIET_S = 5.0
"""The longest silence on a stream; then a comment follows, which clients read over. Proxies cut
connections that are silent for long: nginx after 60 s."""

COMMENT = ": still working\n\n"

STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}
"""How a route that may stream describes it; `tiffin.api.openapi` adds the rest."""


def error_frame(error: Exception) -> str:
    """A failure as a frame, for a stream whose status is sent."""
    return f"data: {json.dumps(error_body(translate(error)))}\n\n"


def event_stream(
    frames: AsyncGenerator[str, None],
    headers: Mapping[str, str] | None = None,
    failed: Callable[[Exception], str] = error_frame,
) -> StreamingResponse:
    """Stream the frames. They may fill in `headers` until the first of them comes.

    A header that is written or changed later follows as a comment, which clients read over.

    What fails before the first frame is raised, or, if that took long, is the frame of `failed`.
    """
    return _EventStream(frames, {} if headers is None else headers, failed)


class _EventStream(StreamingResponse):
    """Frames that came together leave together, and silence is broken by comments."""

    def __init__(
        self,
        frames: AsyncGenerator[str, None],
        late_headers: Mapping[str, str],
        failed: Callable[[Exception], str],
    ) -> None:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(frames, media_type=MEDIA_TYPE, headers=headers)
        self._frames = frames
        self._late_headers = late_headers
        self._failed = failed
        self._opening = asyncio.Lock()
        self._body: WriteCoalescer | None = None
        self._wrote_at = 0.0
        self._sent: dict[str, str] = {}

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Answer (ASGI). `CancelOnDisconnect` notices when the client leaves."""
        comments = asyncio.create_task(self._break_silence(send))
        try:
            async with aclosing(self._frames) as frames:
                async for text in frames:
                    await self._write(text, send)
        except Exception as error:
            async with self._opening:
                begun = self._body is not None
            if not begun:
                raise
            await self._write(self._failed(error), send)
        finally:
            comments.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await comments
            if self._body is not None:
                self._body.stop()
        await (await self._opened(send)).end()

    async def _write(self, text: str, send: Send) -> None:
        body = self._body or await self._opened(send)
        self._wrote_at = asyncio.get_running_loop().time()
        if self._late_headers != self._sent:
            text = self._late() + text
        await body.write(text.encode())

    def _late(self) -> str:
        """The headers that are new since the last were sent, as comments."""
        sent, self._sent = self._sent, dict(self._late_headers)
        new = (item for item in self._sent.items() if sent.get(item[0]) != item[1])
        return "".join(f": {name}: {value}\n\n" for name, value in new)

    async def _opened(self, send: Send) -> WriteCoalescer:
        async with self._opening:
            if self._body is None:
                self._sent = dict(self._late_headers)
                self.headers.update(self._sent)
                start = {"type": "http.response.start", "status": self.status_code}
                await send({**start, "headers": self.raw_headers})
                self._body = WriteCoalescer(send)
            return self._body

    async def _break_silence(self, send: Send) -> None:
        await asyncio.sleep(HEAD_AFTER_S)
        await self._opened(send)
        while True:
            quiet_s = asyncio.get_running_loop().time() - self._wrote_at
            if quiet_s < QUIET_S:
                await asyncio.sleep(QUIET_S - quiet_s)
            else:
                await self._write(COMMENT, send)


async def frames(events: AsyncGenerator[BaseModel, None]) -> AsyncGenerator[str, None]:
    """One frame an event, then `[DONE]`.

    A failure ends the stream with a typed error frame and without `[DONE]`; one before the first
    event is raised.
    """
    begun = False
    async with aclosing(events):
        try:
            async for event in events:
                begun = True
                yield frame(event)
        except Exception as error:
            if not begun:
                raise
            yield error_frame(error)
            return
        yield "data: [DONE]\n\n"


def frame(event: BaseModel) -> str:
    """One event, without a name."""
    return f"data: {event.model_dump_json(ensure_ascii=True)}\n\n"
