"""Server-sent events. JSON is ASCII-escaped, so no chunk boundary ever splits a character."""

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from tiffin import errors
from tiffin.api.errors import error_body, translate

logger = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"


async def event_stream(events: AsyncGenerator[BaseModel, None]) -> StreamingResponse:
    """Stream the events, then `[DONE]`.

    The first event is awaited here, so that a failure before it is an ordinary error response.
    """
    try:
        first = await anext(events)
    except StopAsyncIteration:
        message = "there was nothing to stream"
        raise errors.UpstreamFailed(message) from None
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    body = _after(_frame(first.model_dump()), frames(events))
    return StreamingResponse(body, media_type=MEDIA_TYPE, headers=headers)


async def frames(events: AsyncGenerator[BaseModel, None]) -> AsyncGenerator[str, None]:
    """One frame an event, then `[DONE]`.

    A failure ends the stream with a typed error frame and without `[DONE]`.
    """
    async with aclosing(events):
        try:
            async for event in events:
                yield _frame(event.model_dump())
        except Exception as error:  # noqa: BLE001  the status is sent: the frame must say it
            yield _frame(error_body(translate(error)))
            return
        yield "data: [DONE]\n\n"


async def _after(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(rest):
        yield first
        async for frame in rest:
            yield frame


def _frame(payload: object) -> str:
    return f"data: {json.dumps(payload, separators=(',', ':'))}\n\n"
