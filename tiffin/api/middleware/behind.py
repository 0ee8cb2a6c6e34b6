"""Makes what BentoML, or Starlette for files, answers on the entry service look like our answers.

`services/rag.py` puts it behind the dispatcher, where only BentoML's own pages and metrics pass;
`tiffin.api.openapi` puts it around the files of its page. No request for a model passes it.
"""

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.api.request_id import REQUEST_ID_HEADER, request_id_of
from tiffin.core.errors import InvalidRequest, NotFound, TiffinError, UpstreamFailed


class InOurShape:
    """ASGI middleware: gives each answer its request's id, and each failure our body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        failed = False

        async def send_in_shape(message: Message) -> None:
            nonlocal failed
            if failed:
                return  # the rest of a body that ours has replaced
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= HTTPStatus.BAD_REQUEST:
                    failed = True
                    response = error_response(_error_of(scope["path"], status))
                    await response(scope, receive, send)
                    return
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id_of(Headers(scope=scope))
            await send(message)

        await self._app(scope, receive, send_in_shape)


def _error_of(path: str, status: int) -> TiffinError:
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(f"no such file: {path[:80]!r}")
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidRequest(f"{path[:80]!r}: {HTTPStatus(status).phrase.lower()}")
    return UpstreamFailed(f"{path[:80]!r} failed; the server's log has it")
