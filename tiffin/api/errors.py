"""The one place where our errors, and FastAPI's, become what clients read.

`{"error": {"message", "type", "param", "code"}}`, all four keys always, and the request's id.
"""

import logging
import sqlite3
from contextvars import ContextVar
from http import HTTPStatus

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
from tiffin.core.model_errors import from_model_error

logger = logging.getLogger(__name__)

noted: ContextVar[list[errors.TiffinError] | None] = ContextVar("noted", default=None)
"""What goes wrong in a request, for its line in the log (`tiffin.api.middleware.access_log`)."""


class ErrorDetail(BaseModel):
    """What went wrong. `param` names the field, if one is to blame."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every response that is not a success, and of an error frame in a stream."""

    error: ErrorDetail


class ErrorResponse(JSONResponse):
    """An error as a response. One that comes before the request has its context adds the id."""

    error: errors.TiffinError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI)."""
        context = scope.get("state", {}).get("context")
        request_id = context.request_id if context else request_id_of(Headers(scope=scope))
        if context is None:
            self.headers[REQUEST_ID_HEADER] = request_id
        if self.error is not None and scope.get("path", "").startswith(ANTHROPIC_PATHS):
            self.body = self.render(anthropic_body(self.error, request_id))
            self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


ANTHROPIC_PATHS = "/v1/messages"
"""Errors under this path have Anthropic's shape."""

_ANTHROPIC_TYPES = {"server_error": "api_error", "insufficient_quota": "rate_limit_error"}


def anthropic_body(error: errors.TiffinError, request_id: str) -> dict[str, object]:
    """The body that Anthropic's clients read. It keeps our `param` and `code`."""
    body = error_body(error)["error"]
    type_ = _ANTHROPIC_TYPES.get(error.type, error.type)
    return {"type": "error", "error": {**body, "type": type_}, "request_id": request_id}


def error_response(error: errors.TiffinError) -> JSONResponse:
    """The response that an error becomes, with Retry-After if waiting helps."""
    _note(error)
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    response = ErrorResponse(error_body(error), status_code=error.status, headers=headers)
    response.error = error
    return response


def closing_response(error: errors.TiffinError) -> JSONResponse:
    """The same, and the client opens its next connection anew: to a server that stays."""
    response = error_response(error)
    response.headers["connection"] = "close"
    return response


def install(app: FastAPI) -> None:
    """Answer every failure of the app in our shape; what no one expected is also raised again."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, HTTPException):
            return _no_route(request, error)
        return error_response(translate(error))

    async def answer_if_full(_: Request, error: Exception) -> JSONResponse:
        if (full := errors.from_full_disk(error)) is None:
            raise error
        logger.error("%s: %s", full.message, error)
        return closing_response(full)  # its body may not have been read

    for kind in (errors.TiffinError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)
    for kind in (OSError, sqlite3.OperationalError, RuntimeError):  # not raised again
        app.add_exception_handler(kind, answer_if_full)


def _no_route(request: Request, error: HTTPException) -> JSONResponse:
    """The answer if no route has this path or method; Starlette raises nothing else."""
    path = request.url.path
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return error_response(errors.NotFound(f"no such route: {path!r}"))
    allowed = ", ".join(_methods(request))
    message = f"{path!r} does not take {request.method}; it takes: {allowed}"
    response = error_response(errors.MethodNotAllowed(message))
    response.headers["allow"] = allowed
    return response


def _methods(request: Request) -> list[str]:
    """The methods that a request's path takes; HEAD wherever it takes GET."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in found for method in route.methods or ()} or {"GET"}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def translate(error: Exception) -> errors.TiffinError:
    """The TiffinError for what was raised. An unexpected error is logged and not shown."""
    if isinstance(error, errors.TiffinError):
        return _note(error)
    logger.error("unexpected error", exc_info=error)
    return _note(from_model_error(error))


def _note(error: errors.TiffinError) -> errors.TiffinError:
    if (seen := noted.get()) is not None:
        seen.append(error)
    return error
