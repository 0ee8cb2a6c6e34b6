"""Server-sent events. JSON is ASCII-escaped, so no chunk boundary splits a character."""

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Send

from tiffin.api.errors import translate
from tiffin.core import errors
from tiffin.core.error_body import error_body
from tiffin.transport.coalesce import WriteCoalescer

logger = logging.getLogger(__name__)

Event = TypeVar("Event", bound=BaseModel)

MEDIA_TYPE = "text/event-stream"

STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}
"""How a route that may stream describes it; `tiffin.api.openapi` adds the rest."""


def event_stream(
    frames: AsyncGenerator[str, None], headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """Stream the frames. A failure in them comes after the status, as a frame."""
    all_headers = {"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})}
    return _EventStream(frames, media_type=MEDIA_TYPE, headers=all_headers)


class _EventStream(StreamingResponse):
    """Frames that came together leave together."""

    async def stream_response(self, send: Send) -> None:
        """Send the head, then the frames (Starlette calls it)."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        body = WriteCoalescer(send)
        try:
            async for text in self.body_iterator:
                await body.write(str(text).encode())
        finally:
            body.stop()
        await body.end()


async def first_awaited(
    events: AsyncGenerator[Event, None],
) -> AsyncGenerator[Event, None]:
    """The same events once the first has come. A failure before it is raised here."""
    try:
        first = await anext(events)
    except StopAsyncIteration:
        raise errors.UpstreamFailed("there was nothing to stream") from None
    return _after(first, events)


async def frames(events: AsyncGenerator[BaseModel, None]) -> AsyncGenerator[str, None]:
    """One frame an event, then `[DONE]`.

    A failure ends the stream with a typed error frame and without `[DONE]`.
    """
    async with aclosing(events):
        try:
            async for event in events:
                yield frame(event)
        except Exception as error:  # noqa: BLE001  the status is sent: the frame must say it
            yield f"data: {json.dumps(error_body(translate(error)))}\n\n"
            return
        yield "data: [DONE]\n\n"


def frame(event: BaseModel) -> str:
    """One event, without a name."""
    return f"data: {event.model_dump_json(ensure_ascii=True)}\n\n"


async def _after(first: Event, rest: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    async with aclosing(rest):
        yield first
        async for event in rest:
            yield event
