"""Counts BentoML's `bentoml_service_*` metrics for known paths only.

Why: BentoML keeps five series for every path that it sees, for ever, so that a client that makes
paths up fills the memory. It also looks each series up by its labels for each request, which takes
longer than counting; here each is looked up once.

Upstream: not reported. The label is the raw path by design of BentoML#2977.
"""

import time
from collections.abc import Container

from bentoml._internal.context import server_context
from bentoml._internal.server.http import instruments
from starlette.types import Message, Receive, Scope, Send

from services.bento.versions import replace
from tiffin.telemetry.metrics import series

counted: list[Container[str]] = []
"""The paths that the services answer. They may still grow; a process runs one of the services."""


def install() -> None:
    """BentoML's app looks the class up by its name when it is built."""
    replace(instruments, "RunnerTrafficMetricsMiddleware", KnownPathsMetrics)


class KnownPathsMetrics(instruments.RunnerTrafficMetricsMiddleware):
    """BentoML's own middleware, for the paths in `counted`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or not _is_counted(scope["path"]):
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if not self._is_setup:
            self._setup()
        service = server_context.bento_name, server_context.bento_version
        runner = server_context.service_name
        if not path.startswith(tuple(self.skip_paths)):
            series(self.metrics_last_request_timestamp, *service, runner).set_to_current_time()
        began, status = time.perf_counter(), ""

        async def counting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            elif not message.get("more_body", False):
                labels = path, *service, status, runner
                series(self.metrics_request_total, *labels).inc()
                took_s = time.perf_counter() - began
                series(self.metrics_request_duration, *labels).observe(took_s)
            await send(message)

        with series(self.metrics_request_in_progress, path, *service, runner).track_inprogress():
            await self.app(scope, receive, counting)


def _is_counted(path: str) -> bool:
    return path != "/metrics" and any(path in paths for paths in counted)
