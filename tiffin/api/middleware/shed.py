"""Refuses work that would find the door full, before it costs anything. Used by `tiffin.api.app`.

It stands twice in the way of a request. In front of the body it refuses what would be refused
whatever it asked for, and where the path alone says what is asked for. Behind it, what the body
asks for: that is read out of it before the rest is parsed.
"""

from typing import Literal

import msgspec
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.api.generation import tier_of
from tiffin.api.middleware.context import with_priority
from tiffin.core.context import RequestContext
from tiffin.core.errors import NotFound, Overloaded
from tiffin.core.names import AUTO
from tiffin.gateway import Gateway
from tiffin.telemetry import metrics
from tiffin.traffic.admission import EMBED, RERANK

STAGES = {
    **dict.fromkeys(("/v1/embeddings", "/embed", "/", "/v1"), EMBED),
    **dict.fromkeys(("/v1/rerank", "/v2/rerank", "/rerank", "/score", "/v1/score"), RERANK),
}
"""Of the paths that ask for no model of the body's choice."""


class Shed:
    """ASGI middleware behind the one that makes the context. Every POST is work for a model."""

    def __init__(self, app: ASGIApp, *, owner: FastAPI) -> None:
        self._app = app
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        gateway: Gateway | None = getattr(self._owner.state, "gateway", None)
        if gateway is not None and scope["type"] == "http" and scope["method"] == "POST":
            try:
                _check(scope, gateway)
            except Overloaded as error:
                metrics.series(metrics.answers_total, error.type).inc()
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Asked(msgspec.Struct):
    """Of a body, what decides who goes first; the rest is skipped."""

    model: str = AUTO
    priority: Literal["interactive", "batch"] | None = None


def _check(scope: Scope, gateway: Gateway) -> None:
    """Raise Overloaded if the door is full for what is asked. A mistake is left to the route."""
    context: RequestContext = scope["state"]["context"]
    stage = STAGES.get(scope["path"])
    body: bytes | None = scope["state"].get("body")
    if stage is None and body is not None:
        try:
            asked = msgspec.json.decode(body, type=_Asked)
            stage = tier_of(asked.model, gateway)
        except (msgspec.MsgspecError, UnicodeDecodeError, NotFound):
            return
        context = with_priority(context, asked.priority)
    gateway.admission.check(context, stage)
