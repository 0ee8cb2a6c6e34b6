"""What a request may not exceed, checked before any model runs; each refusal names its field."""

import re
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.values import GenerateRequest
from tiffin.api.errors import error_response
from tiffin.config.requests import LimitSettings
from tiffin.core.errors import (
    BodyTooLarge,
    FieldTooLarge,
    HeadersTooLarge,
    InvalidRequest,
    UnsupportedMedia,
)
from tiffin.core.values import RagRequest


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


def check_prompts(requests: Iterable[GenerateRequest], limits: LimitSettings, field: str) -> None:
    """Raise FieldTooLarge for more to read than a model may be asked to count the tokens of."""
    for request in requests:
        messages = request.messages
        _check(field, len(messages), limits.messages, "messages")
        size = sum(len(message.content) for message in messages) + len(request.prompt or "")
        unit = "tokens" if isinstance(request.prompt, list) else "characters"
        _check(field, size, limits.prompt_chars, unit)


def _check(field: str, size: int, limit: int, unit: str) -> None:
    if size > limit:
        message = f"{field}: {size:,} {unit}, the limit is {limit:,}"
        raise FieldTooLarge(message, param=field, code="too_long")


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


class JsonLimit:
    """ASGI middleware: refuses JSON that is nested too deep or is no text, before it is parsed.

    Reads the body whole, so it belongs inside of BodyLimit; `Shed`, behind, finds it in the scope.
    """

    def __init__(self, app: ASGIApp, *, max_depth: int) -> None:
        self._app = app
        self._max_depth = max_depth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or not _may_be_json(scope):
            await self._app(scope, receive, send)
            return
        chunks: list[bytes] = []
        while True:
            try:
                message = await receive()
            except BodyTooLarge as error:
                await error_response(error)(scope, receive, send)
                return
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        body = b"".join(chunks)
        try:
            check_text(body)
            self._check_depth(body)
        except InvalidRequest as error:
            await error_response(error)(scope, receive, send)
            return
        scope.setdefault("state", {})["body"] = body
        await self._app(scope, _replay(body, receive), send)

    def _check_depth(self, body: bytes) -> None:
        if is_nested_deeper(body, self._max_depth):
            message = f"body: nested deeper than the limit of {self._max_depth} levels"
            raise InvalidRequest(message, param="body", code="too_deep")


def _has_body(scope: Scope) -> bool:
    """Whether a method's body is read."""
    return scope["method"] not in {"GET", "HEAD", "OPTIONS"}


def _encoding(scope: Scope) -> str:
    """How the body is encoded, but for what changes nothing; empty when it is not."""
    lines = Headers(scope=scope).getlist("content-encoding")
    codings = [coding.strip().lower() for line in lines for coding in line.split(",")]
    return ", ".join(coding for coding in codings if coding not in {"", "identity"})


def _unread(encoding: str) -> Response:
    message = f"content-encoding: {encoding[:40]!r} is not read here; send the body as it is"
    error = UnsupportedMedia(message, param="content-encoding", code="unsupported_encoding")
    response = error_response(error)
    response.headers["accept-encoding"] = "identity"
    return response


def _may_be_json(scope: Scope) -> bool:
    """Whether a body is read as JSON; an upload, say, is not."""
    # Of several, the first: it is the one by which the routes decide.
    kind = Headers(scope=scope).get("content-type", "json")
    return _has_body(scope) and "json" in kind.lower()


_PAIR_OR_BACKSLASH = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}", re.DOTALL
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def check_text(body: bytes) -> None:
    """Raise InvalidRequest for what Python reads as JSON, though it is not Unicode in UTF-8.

    Half of a surrogate pair is no character: no tokenizer takes it, and no message can carry it.
    """
    problem = ""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
    if b"\0" in body:
        problem = "it must be UTF-8"
    elif _SURROGATE.search(body) and _SURROGATE.search(_PAIR_OR_BACKSLASH.sub(b" ", body)):
        problem = "\\ud800 to \\udfff are no characters but in pairs"
    if problem:
        message = f"the body is not valid JSON: {problem}"
        raise InvalidRequest(message, param="body", code="invalid_json")


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def is_nested_deeper(body: bytes, limit: int) -> bool:
    """Whether arrays and objects lie more than `limit` deep, as far as brackets tell."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            return True
    return False


def _replay(body: bytes, receive: Receive) -> Receive:
    read = False

    async def replay() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class BodyLimit:
    """ASGI middleware: refuses a body over the limit, unread if its length is declared.

    A compressed one is refused too: it could be a thousand times as long once it is unpacked.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

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
