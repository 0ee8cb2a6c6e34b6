"""What both ends of a hop agree on: paths, headers, content types, error and frame encoding."""

import struct

import msgspec

from tiffin.core import errors
from tiffin.core.context import RequestContext, new_request_id
from tiffin.core.deadline import Deadline

PREFIX = "/internal/v1/"
HEALTH_PATH = PREFIX + "health"
MESSAGE_TYPE = "application/msgpack"
STREAM_TYPE = "application/vnd.tiffin.frames"

PROTOCOL = 1
"""Incremented when a message changes in a way that the other end would misread. Services of
different releases work together if theirs are equal, so that each can be rolled out alone."""

TOKEN_HEADER = "x-tiffin-token"  # noqa: S105  the name of a header
TIMEOUT_HEADER = "x-request-timeout-ms"
REQUEST_ID_HEADER = "x-request-id"
TRACE_HEADER = "traceparent"
WHOLE_HEADER = "x-tiffin-whole"
"""`1`: the caller does not stream, and is woken once for many events instead of for each."""

DEFAULT_TIMEOUT_S = 60.0
"""For a call that brings no deadline, such as one made by hand."""

# One frame of a stream: a little-endian uint32 length, a kind byte, then msgpack of that length.
FRAME_HEADER = struct.Struct("<IB")
FRAME_EVENT, FRAME_ERROR, FRAME_END = 0, 1, 2

MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError)
"""What decoding raises for bytes that are not the message they should be."""


class WireError(msgspec.Struct, frozen=True):
    """A TiffinError as it crosses a hop. `kind` is the class's name."""

    kind: str
    message: str
    param: str | None = None
    code: str | None = None
    retry_after_s: int | None = None


_KINDS: dict[str, type[errors.TiffinError]] = {
    kind.__name__: kind
    for kind in (
        errors.InvalidRequest,
        errors.BodyTooLarge,
        errors.UnsupportedMedia,
        errors.FieldTooLarge,
        errors.ContextExceeded,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.NotFound,
        errors.SpendingCapReached,
        errors.RateLimited,
        errors.Overloaded,
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.UpstreamFailed,
    )
}

_encoder = msgspec.msgpack.Encoder()
_error_decoder = msgspec.msgpack.Decoder(WireError)


def encode(value: object) -> bytes:
    """Msgpack of a message struct."""
    return _encoder.encode(value)


def encode_error(error: errors.TiffinError) -> bytes:
    """Msgpack of an error, for a reply body or an error frame."""
    return encode(
        WireError(type(error).__name__, error.message, error.param, error.code, error.retry_after_s)
    )


def decode_error(data: bytes) -> errors.TiffinError:
    """The error that the other end raised; UpstreamFailed when it does not speak our wire."""
    try:
        wire = _error_decoder.decode(data)
    except MALFORMED:
        return errors.UpstreamFailed("the service answered with an error of an unknown shape")
    kind = _KINDS.get(wire.kind, errors.UpstreamFailed)
    return kind(wire.message, param=wire.param, code=wire.code, retry_after_s=wire.retry_after_s)


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One frame of a stream."""
    return FRAME_HEADER.pack(len(payload), kind) + payload


def next_frame(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take the kind and message of the first frame out of the buffer; None until it is complete."""
    if len(buffer) < FRAME_HEADER.size:
        return None
    length, kind = FRAME_HEADER.unpack_from(buffer)
    end = FRAME_HEADER.size + length
    if len(buffer) < end:
        return None
    payload = bytes(buffer[FRAME_HEADER.size : end])
    del buffer[:end]
    return kind, payload


def headers_of(context: RequestContext) -> dict[str, str]:
    """The headers that carry a context over a hop."""
    headers = {
        TIMEOUT_HEADER: str(int(context.deadline.remaining() * 1000)),
        REQUEST_ID_HEADER: context.request_id,
    }
    if context.traceparent is not None:
        headers[TRACE_HEADER] = context.traceparent
    if context.whole:
        headers[WHOLE_HEADER] = "1"
    return headers


def context_of(headers: dict[bytes, bytes]) -> RequestContext:
    """The context that a hop's headers (lower-case names) carry."""
    timeout = headers.get(TIMEOUT_HEADER.encode(), b"")
    seconds = int(timeout) / 1000 if timeout.isdigit() else DEFAULT_TIMEOUT_S
    deadline = Deadline.after(seconds)
    trace = headers.get(TRACE_HEADER.encode())
    traceparent = trace.decode("latin-1") if trace else None
    whole = headers.get(WHOLE_HEADER.encode()) == b"1"
    request_id = headers.get(REQUEST_ID_HEADER.encode(), b"").decode("latin-1")
    return RequestContext(
        deadline, request_id or new_request_id(), traceparent=traceparent, whole=whole
    )
