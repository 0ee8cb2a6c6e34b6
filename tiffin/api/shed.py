"""Refuses work that would find the door full, with its body unread. Used by `tiffin.api.app`."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tiffin.api.errors import error_response
from tiffin.api.state import Gateway
from tiffin.context import RequestContext
from tiffin.errors import Overloaded
from tiffin.ops import metrics


class Shed:
    """ASGI middleware behind the one that makes the context. Every POST is work for a model."""

    def __init__(self, app: ASGIApp, *, owner: FastAPI) -> None:
        self._app = app
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        gateway: Gateway | None = getattr(self._owner.state, "gateway", None)
        if gateway is not None and scope["type"] == "http" and scope["method"] == "POST":
            context: RequestContext = scope["state"]["context"]
            try:
                gateway.admission.check(context)
            except Overloaded as error:
                metrics.answers_total.labels(error.type).inc()
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)
