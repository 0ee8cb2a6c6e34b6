"""Assembles the entry service's ASGI app. `services/rag.py` puts it before BentoML's routes."""

from collections.abc import Container

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tiffin import __version__
from tiffin.api import errors, openapi
from tiffin.api.middleware.access import KeyGuard
from tiffin.api.middleware.access_log import AccessLog
from tiffin.api.middleware.context import ContextMiddleware
from tiffin.api.middleware.limits import BodyLimit, HeaderLimit
from tiffin.api.middleware.sharing import limiter_of
from tiffin.api.middleware.shed import Shed
from tiffin.api.routes import (
    cache,
    chat,
    completions,
    decisions,
    embeddings,
    files,
    health,
    members,
    messages,
    models,
    moderations,
    playground,
    rag,
    rerank,
    responses,
    vector_stores,
)
from tiffin.config.settings import Settings
from tiffin.core.errors import MethodNotAllowed
from tiffin.lifecycle.drain import Drain, DrainMiddleware
from tiffin.transport.disconnect import CancelOnDisconnect

BENTOML_PATHS = frozenset({"/docs.json", "/schema.json", "/metrics"})
"""What BentoML answers on the entry service: its clients' schema and all metrics."""


FORM_BYTES = 64 * 1024
"""What a form may hold beside its file."""

GENERATING_PATHS = tuple(
    f"/v1/{name}"
    for name in ("chat/completions", "completions", "responses", "messages", "decisions")
)
"""These have a deadline of their own, because answers may be as long as a model's context."""


def create_app() -> FastAPI:
    """The routes. They answer 503 until `app.state.gateway` is set (`tiffin.gateway`)."""
    app = FastAPI(
        title="Tiffin",
        description="Every model of a RAG application behind one URL.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
    )
    for routes in (
        rag,
        chat,
        messages,
        completions,
        responses,
        decisions,
        embeddings,
        rerank,
        moderations,
        cache,
        models,
        health,
        playground,
    ):
        app.include_router(routes.router)
    for routes in (files, members, vector_stores):
        app.include_router(routes.router)
    playground.install(app)
    for path in BENTOML_PATHS:
        app.add_route(path, _elsewhere, methods=["GET"], include_in_schema=False)
    errors.install(app)
    openapi.install(app)
    return app


async def _elsewhere(_: Request) -> Response:
    """BentoML answers GET here. Declaring it lets us refuse other methods by name."""
    raise MethodNotAllowed("BentoML answers this path, and it does not serve this app")


class HeadAsGet:
    """ASGI middleware: answers HEAD as GET, because FastAPI's routes do not take HEAD.

    The server leaves the body out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


def wrap(app: FastAPI, settings: Settings, drain: Drain) -> ASGIApp:
    """The app behind its limits; a client that leaves cancels its work."""
    app.state.limits = settings.limits
    watched = CancelOnDisconnect(HeadAsGet(app))
    limits = settings.limits
    uploads = {files.PATH: limits.file_bytes + FORM_BYTES}
    limited = BodyLimit(watched, max_bytes=limits.body_bytes, of_path=uploads)
    context = ContextMiddleware(
        Shed(limited, owner=app),
        default_timeout_ms=settings.rag.deadline_ms,
        timeouts_ms=dict.fromkeys(GENERATING_PATHS, settings.chat.deadline_ms),
    )
    return DrainMiddleware(context, drain=drain, refuse=errors.closing_response)


def guard(app: ASGIApp, *, settings: Settings, paths: Container[str] = ()) -> ASGIApp:
    """Everything that the entry service answers, BentoML's routes too, behind its keys.

    `paths` are the service's; metrics name no others.
    """
    access = settings.access
    if access.keys_file is not None:
        app = KeyGuard(app, keys_file=access.keys_file, limiter=limiter_of(settings))
    app = HeaderLimit(app, max_bytes=settings.limits.header_bytes)
    if access.cors_origins:
        # Outside the keys, because a browser asks whether it may call before it sends one; outside
        # everything, because a page could not read a refusal otherwise.
        app = CORSMiddleware(
            app,
            allow_origins=access.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["*"],
            allow_private_network=True,
        )
    return AccessLog(app, paths=paths)


def is_ours(method: str, path: str) -> bool:
    """Whether our app answers this path of the entry service, rather than BentoML's."""
    if method not in {"GET", "HEAD"}:
        return True  # BentoML would refuse it in a shape of its own
    return path not in BENTOML_PATHS


def paths_of(app: FastAPI) -> frozenset[str]:
    """The paths that the entry service answers, as its routes declare them."""
    return BENTOML_PATHS.union(route.path for route in app.routes if isinstance(route, Route))
