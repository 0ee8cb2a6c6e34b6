"""The one place where our errors, and FastAPI's, become what clients read.

`{"error": {"message", "type", "param", "code"}}`, all four keys always, and the request's id.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from tiffin.api.request_id import REQUEST_ID_HEADER, request_id_of
from tiffin.core import errors
from tiffin.core.error_body import error_body

logger = logging.getLogger(__name__)

UNKNOWN_TYPE = "unknown_type"
"""Of a problem that pydantic finds: the field `type` names no member of a union."""

EXPECTED = (errors.TiffinError, HTTPException)
"""What is raised to be answered. Anything else is raised again once it is, for the server."""

SHOWN_CHARS = 60
"""Of a value that is quoted in a message."""


class ErrorDetail(BaseModel):
    """What went wrong. `param` names the field, where one is to blame."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every response that is not a success, and of an error frame in a stream."""

    error: ErrorDetail


class ErrorResponse(JSONResponse):
    """An error as a response; one given before the request has its context brings its id too."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI)."""
        if "context" not in scope.get("state", ()):
            self.headers[REQUEST_ID_HEADER] = request_id_of(Headers(scope=scope))
        await super().__call__(scope, receive, send)


def error_response(error: errors.TiffinError) -> JSONResponse:
    """The response that an error becomes, with Retry-After where waiting helps."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    return ErrorResponse(error_body(error), status_code=error.status, headers=headers)


def closing_response(error: errors.TiffinError) -> JSONResponse:
    """The same, after which the client opens a new connection: to a server that stays."""
    response = error_response(error)
    response.headers["connection"] = "close"
    return response


def install(app: FastAPI) -> None:
    """Answer every failure of the app in our shape."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        return answer_to(request, error)

    for kind in (*EXPECTED, Exception):
        app.add_exception_handler(kind, ours)


def answer_to(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that failed; an unexpected error is logged."""
    if isinstance(error, HTTPException):
        return _no_route(request, error)
    return error_response(translate(error))


def _no_route(request: Request, error: HTTPException) -> JSONResponse:
    """Of a path that there is not, or not with this method: all that Starlette raises."""
    path = request.url.path
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return error_response(errors.NotFound(f"no such route: {path!r}"))
    allowed = ", ".join(_methods(request))
    message = f"{path!r} does not take {request.method}; it takes: {allowed}"
    response = error_response(errors.MethodNotAllowed(message))
    response.headers["allow"] = allowed
    return response


def _methods(request: Request) -> list[str]:
    """What the path of a request may be asked with; HEAD wherever GET may."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in found for method in route.methods or ()} or {"GET"}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def translate(error: Exception) -> errors.TiffinError:
    """The TiffinError for whatever was raised; an unexpected error is logged, not shown."""
    if isinstance(error, errors.TiffinError):
        return error
    logger.error("unexpected error", exc_info=error)
    return errors.from_model_error(error)


def from_validation(problems: Sequence[Any]) -> errors.InvalidRequest:
    """The most exact problem that pydantic found in a body, named as the client wrote it.

    A part of an unknown type lacks fields too: its type is what is wrong with it.
    """
    problem = max(problems, key=lambda one: (len(one["loc"]), one["type"] == "literal_error"))
    kind, param = problem["type"], field_name(problem["loc"])
    if kind == "model_type" and param == "body":
        return no_object()
    reason = problem["msg"].removeprefix("Value error, ")
    if kind == UNKNOWN_TYPE:
        param += ".type"
        reason += f"; it is {_type_of(problem['input'])}"
    message = f"{param}: {reason[0].lower()}{reason[1:]}"
    too_large = kind in {"too_long", "string_too_long"}
    error = errors.FieldTooLarge if too_large else errors.InvalidRequest
    return error(message, param=param, code=kind)


def no_object() -> errors.InvalidRequest:
    """Of a body that is no JSON object, or does not say that it is."""
    message = "body: send a JSON object, with the header `content-type: application/json`"
    return errors.InvalidRequest(message, param="body", code="invalid_json")


def _type_of(value: object) -> str:
    """What an object says that it is, for a message."""
    if not isinstance(value, dict):
        return "missing: this is no object"
    return repr(value["type"])[:SHOWN_CHARS] if "type" in value else "missing"


def field_name(location: Sequence[str | int]) -> str:
    """`("documents", 3, "Document", "text")` as `documents[3].text`."""
    name = ""
    for part in location:
        if isinstance(part, int):
            name += f"[{part}]"
        elif not _is_type(part):
            name += f".{part}" if name else part
    return name or "body"


def _is_type(part: str) -> bool:
    """Whether pydantic means a member of a union rather than a field."""
    return part[:1].isupper() or part in {"str", "int"} or "[" in part or "-" in part
