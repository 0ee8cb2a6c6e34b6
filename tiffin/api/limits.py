"""What a request may not exceed, checked before any model runs; each refusal names its field."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.errors import BodyTooLarge, FieldTooLarge
from tiffin.ops.settings import LimitSettings
from tiffin.pipeline.values import RagRequest


def check_rag_request(request: RagRequest, limits: LimitSettings) -> None:
    """Raise FieldTooLarge for the first field over its limit."""
    _check("query", len(request.query), limits.query_chars, "characters")
    _check("documents", len(request.documents), limits.documents, "documents")
    for index, document in enumerate(request.documents):
        text, name = (
            (document, f"documents[{index}]")
            if isinstance(document, str)
            else (document.text, f"documents[{index}].text")
        )
        _check(name, len(text), limits.document_chars, "characters")


def check_query(query: str, limits: LimitSettings, field: str = "query") -> None:
    """Raise FieldTooLarge for a query over its limit."""
    _check(field, len(query), limits.query_chars, "characters")


def check_documents(documents: Sequence[str], limits: LimitSettings, field: str) -> None:
    """Raise FieldTooLarge for too many documents, or the first that is too long."""
    _check(field, len(documents), limits.documents, "documents")
    for index, document in enumerate(documents):
        _check(f"{field}[{index}]", len(document), limits.document_chars, "characters")


def check_inputs(inputs: Sequence[str | list[int]], limits: LimitSettings, field: str) -> None:
    """Raise FieldTooLarge for too many inputs, or the first text or token array too long."""
    _check(field, len(inputs), limits.inputs, "inputs")
    for index, item in enumerate(inputs):
        if isinstance(item, str):
            _check(f"{field}[{index}]", len(item), limits.document_chars, "characters")
        else:
            _check(f"{field}[{index}]", len(item), limits.input_tokens, "tokens")


def _check(field: str, size: int, limit: int, unit: str) -> None:
    if size > limit:
        message = f"{field}: {size:,} {unit}, the limit is {limit:,}"
        raise FieldTooLarge(message, param=field, code="too_long")


class BodyLimit:
    """ASGI middleware: refuses a body over the limit, unread if its length is declared."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await error_response(self._error())(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                raise self._error()
            return message

        await self._app(scope, counted, send)

    def _error(self) -> BodyTooLarge:
        return BodyTooLarge(f"body: the limit is {self._max_bytes:,} bytes", param="body")
