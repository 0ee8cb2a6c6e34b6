"""How a route with a JSON body is called. Every router of `tiffin.api` that has one uses it.

`tiffin.api.app` puts `Shortcut` before FastAPI's app.
"""

import json
from collections.abc import Awaitable, Callable
from inspect import signature
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response
from starlette.types import Receive, Scope, Send

from tiffin.api.errors import EXPECTED, answer_to, from_validation, no_object
from tiffin.core.errors import InvalidRequest

Endpoint = Callable[[Any, Request], Awaitable[Response]]


class JsonRoute(APIRoute):
    """Calls `endpoint(body, http)` with the body as its annotation wants it.

    FastAPI describes it. Its own way of calling it, which finds out for each request what an
    endpoint needs, takes longer than to read and check the body.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **described: Any) -> None:  # noqa: ANN401
        super().__init__(path, endpoint, **described)
        self.answer = None if self.body_field is None else _reading(endpoint)
        if self.answer is not None:
            self.app = request_response(self.answer)


class Shortcut:
    """ASGI app: `app`, but a plain POST to the path of a `JsonRoute` goes to the route at once.

    Through `app` it passes the routes before its own and five layers, three of which answer what a
    route may raise. Here that is answered once, as they would. All else goes through `app`.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._found = {
            route.path: (route.answer, route)
            for route in app.routes
            if isinstance(route, JsonRoute) and route.answer and not route.param_convertors
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        found = self._found.get(scope["path"]) if _is_plain_post(scope) else None
        if found is None:
            await self._app(scope, receive, send)
            return
        answer, route = found
        scope.update(
            app=self._app,
            router=self._app.router,
            route=route,
            endpoint=route.endpoint,
            path_params={},
        )
        http, response = Request(scope, receive, send), None
        try:
            try:
                response = await answer(http)
            except EXPECTED as error:
                response = answer_to(http, error)
                error.__traceback__ = None  # it may lead back to the error
            await response(scope, receive, send)
        except Exception as error:
            failed = answer_to(http, error)
            if response is None:
                await failed(scope, receive, send)
            raise


def _is_plain_post(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST" and not scope.get("root_path")


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
