"""Assembles the entry service's ASGI app. `services/rag.py` serves it before BentoML's routes."""

from fastapi import FastAPI
from starlette.types import ASGIApp

from tiffin import __version__
from tiffin.api import chat, completions, errors, health, rag, responses
from tiffin.api.context import ContextMiddleware
from tiffin.api.limits import BodyLimit
from tiffin.ops.settings import Settings
from tiffin.transport.disconnect import CancelOnDisconnect

BENTOML_PATHS = frozenset({"/", "/docs.json", "/schema.json", "/metrics"})
"""What BentoML answers on the entry service: its page, its clients' schema, all metrics."""


GENERATING_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
"""Their answers may be as long as a model's context: they have a deadline of their own."""


def create_app() -> FastAPI:
    """The routes. They answer 503 until `app.state.gateway` is set (`tiffin.api.state`)."""
    app = FastAPI(
        title="Tiffin",
        description="Every model of a RAG application behind one URL.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(rag.router)
    app.include_router(chat.router)
    app.include_router(completions.router)
    app.include_router(responses.router)
    app.include_router(health.router)
    errors.install(app)
    return app


def wrap(app: FastAPI, settings: Settings) -> ASGIApp:
    """The app behind its limits; a client that leaves cancels its work."""
    limited = BodyLimit(app, max_bytes=settings.limits.body_bytes)
    context = ContextMiddleware(
        limited,
        default_timeout_ms=settings.rag.deadline_ms,
        timeouts_ms=dict.fromkeys(GENERATING_PATHS, settings.chat.deadline_ms),
    )
    return CancelOnDisconnect(context)


def is_ours(path: str) -> bool:
    """Whether our app answers this path of the entry service, rather than BentoML's."""
    return path not in BENTOML_PATHS and not path.startswith("/static_content/")
