"""Refuses work that the admission queue would refuse, before its body is read.

Used by `tiffin.api.app`. Which tier a body asks for is not known here: if only that tier is
full, the request is refused when the route asks for its place.
"""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.core.errors import Overloaded
from tiffin.gateway import Gateway
from tiffin.telemetry import metrics
from tiffin.traffic.admission import EMBED, RERANK

STAGES = {
    **dict.fromkeys(("/v1/embeddings", "/embed", "/", "/v1", "/v1/moderations"), EMBED),
    **dict.fromkeys(("/v1/rerank", "/v2/rerank", "/rerank", "/score", "/v1/score"), RERANK),
}
"""The stages of the paths whose body chooses no model."""


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
                gateway.admission.check(scope["state"]["context"], STAGES.get(scope["path"]))
            except Overloaded as error:
                metrics.series(metrics.answers_total, error.type).inc()
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)
