"""The one place where our errors, and FastAPI's, become what clients read.

`{"error": {"message", "type", "param", "code"}}`, all four keys always.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from tiffin import errors

logger = logging.getLogger(__name__)


class ErrorDetail(BaseModel):
    """What went wrong. `param` names the field, where one is to blame."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every response that is not a success, and of an error frame in a stream."""

    error: ErrorDetail


def error_body(error: errors.TiffinError) -> dict[str, Any]:
    """The JSON body that an error becomes."""
    detail = ErrorDetail(message=error.message, type=error.type, param=error.param, code=error.code)
    return ErrorBody(error=detail).model_dump()


def error_response(error: errors.TiffinError) -> JSONResponse:
    """The response that an error becomes, with Retry-After where waiting helps."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    return JSONResponse(error_body(error), status_code=error.status, headers=headers)


def closing_response(error: errors.TiffinError) -> JSONResponse:
    """The same, after which the client opens a new connection: to a server that stays."""
    response = error_response(error)
    response.headers["connection"] = "close"
    return response


def install(app: FastAPI) -> None:
    """Answer every failure of the app in our shape."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        response = error_response(translate(error))
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["allow"] = ", ".join(_methods(request))
        return response

    for kind in (errors.TiffinError, HTTPException, Exception):
        app.add_exception_handler(kind, ours)


def _methods(request: Request) -> list[str]:
    """What the path of a request may be asked with; HEAD wherever GET may."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in found for method in route.methods or ()} or {"GET"}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def translate(error: Exception) -> errors.TiffinError:
    """The TiffinError for whatever was raised; an unexpected error is logged, not shown."""
    match error:
        case errors.TiffinError():
            return error
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            return errors.MethodNotAllowed("this route takes another HTTP method")
        case HTTPException():
            return errors.NotFound("no such route")
        case _:
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
    message = f"{param}: {reason[0].lower()}{reason[1:]}"
    too_large = kind in {"too_long", "string_too_long"}
    error = errors.FieldTooLarge if too_large else errors.InvalidRequest
    return error(message, param=param, code=kind)


def no_object() -> errors.InvalidRequest:
    """Of a body that is no JSON object, or does not say that it is."""
    message = "body: send a JSON object, with the header `content-type: application/json`"
    return errors.InvalidRequest(message, param="body", code="invalid_json")


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
