"""How a route with a JSON body is called. Every router of `tiffin.api` that has one uses it."""

import json
from collections.abc import Awaitable, Callable
from inspect import signature
from typing import Any

from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from tiffin.api.errors import from_validation, no_object
from tiffin.errors import InvalidRequest

Endpoint = Callable[[Any, Request], Awaitable[Response]]


class JsonRoute(APIRoute):
    """Calls `endpoint(body, http)` with the body as its annotation wants it.

    FastAPI describes it. Its own way of calling it, which finds out for each request what an
    endpoint needs, takes longer than to read and check the body.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **described: Any) -> None:  # noqa: ANN401
        super().__init__(path, endpoint, **described)
        if self.body_field is not None:
            self.app = request_response(_reading(endpoint))


def _reading(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    annotation = signature(endpoint, eval_str=True).parameters["body"].annotation
    validate = TypeAdapter(annotation).validate_python

    async def answer(http: Request) -> Response:
        if not _says_json(http.headers.get("content-type", "")):
            raise no_object()
        try:
            body = validate(_parsed(await http.body()))
        except ValidationError as error:
            raise from_validation(error.errors(include_url=False)) from error
        return await endpoint(body, http)

    return answer


def _says_json(content_type: str) -> bool:
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and subtype.rpartition("+")[2] == "json"


def _parsed(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except json.JSONDecodeError as error:
        raise _no_json(f": {error.msg} at position {error.pos}") from error
    except (ValueError, RecursionError) as error:  # a number too long to read, say
        raise _no_json() from error
    return parsed


def _no_json(why: str = "") -> InvalidRequest:
    return InvalidRequest(f"the body is not valid JSON{why}", param="body", code="invalid_json")
