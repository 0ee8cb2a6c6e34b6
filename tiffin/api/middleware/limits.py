"""How large a request may be, checked before its body is parsed. Used by `tiffin.api.app`."""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.core.errors import BodyTooLarge, HeadersTooLarge, UnsupportedMedia


class HeaderLimit:
    """ASGI middleware: refuses a request whose header lines together pass the limit."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http":
            target = len(scope["raw_path"] or b"") + len(scope["query_string"])
            size = target + sum(len(name) + len(value) for name, value in scope["headers"])
            if size > self._max_bytes:
                message = f"headers: {size:,} bytes, the limit is {self._max_bytes:,}"
                error = HeadersTooLarge(message, param="headers", code="too_long")
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """ASGI middleware: refuses a body over the limit, unread if its length is declared.

    `of_path` has the limits of paths that have one of their own.

    A compressed one is refused too: it could be a thousand times as long once it is unpacked.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, of_path: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._of_path = of_path or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if b"content-encoding" in headers and _has_body(scope) and (encoding := _encoding(scope)):
            await _unread(encoding)(scope, receive, send)
            return
        declared = headers.get(b"content-length", b"0")
        limit = self._of_path.get(scope["path"], self._max_bytes)
        if declared.isdigit() and int(declared) > limit:
            await error_response(_too_large(limit))(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"body: the limit is {limit:,} bytes", param="body")


def _has_body(scope: Scope) -> bool:
    """Whether the body that comes with this method is read."""
    return scope["method"] not in {"GET", "HEAD", "OPTIONS"}


def _encoding(scope: Scope) -> str:
    """The encodings of the body that change it; empty if there is none."""
    lines = Headers(scope=scope).getlist("content-encoding")
    codings = [coding.strip().lower() for line in lines for coding in line.split(",")]
    return ", ".join(coding for coding in codings if coding not in {"", "identity"})


def _unread(encoding: str) -> Response:
    message = f"content-encoding: {encoding[:40]!r} is not read here; send the body as it is"
    error = UnsupportedMedia(message, param="content-encoding", code="unsupported_encoding")
    response = error_response(error)
    response.headers["accept-encoding"] = "identity"
    return response
