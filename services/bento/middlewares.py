"""What BentoML puts around every service, made fit for months of requests.

`services/hosting.py` installs it when it is imported, before BentoML builds a service's app.
"""

import logging
import time
from collections.abc import Container
from functools import partial

import uvicorn
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.context import server_context
from bentoml._internal.server.http import instruments, traffic
from opentelemetry.instrumentation import asgi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.bento.http_server import QuietServer
from tiffin.config.requests import LimitSettings
from tiffin.telemetry.metrics import series

REFUSALS_LOGGED = 10
"""Lines a second of the access log for requests that were refused. In an overload there are a
thousand, each of which costs more to write down than to refuse."""

counted: list[Container[str]] = []
"""The paths that the services answer. They may still grow; a process runs one of the services."""


def install(limits: LimitSettings) -> None:
    """Put ours in the place of BentoML's, which its app looks up by name."""
    # BentoML's timer outlives the request that it is for: 5 kB of each stay for 15 minutes. Every
    # request has a deadline of ours, which ends it sooner and typed.
    traffic.TimeoutMiddleware = _left_out  # type: ignore[assignment,misc]
    instruments.RunnerTrafficMetricsMiddleware = KnownPathsMetrics  # type: ignore[misc]
    if not BentoMLContainer.config.tracing.exporter_type.get():
        # Nobody exports spans, and BentoML would record each: of a stream, one for each chunk.
        asgi.OpenTelemetryMiddleware = _left_out  # type: ignore[assignment,misc]
    uvicorn.Server = partial(QuietServer, limits=limits)  # type: ignore[misc,assignment]
    logging.getLogger("bentoml.access").addFilter(FewRefusals())


def _left_out(app: ASGIApp, **_: object) -> ASGIApp:
    return app


class FewRefusals(logging.Filter):
    """Lets through at most `REFUSALS_LOGGED` lines a second about requests that were refused."""

    def __init__(self) -> None:
        super().__init__()
        self._second, self._logged = 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if "(status=503," not in record.getMessage():
            return True
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._logged = second, 0
        self._logged += 1
        return self._logged <= REFUSALS_LOGGED


class KnownPathsMetrics(instruments.RunnerTrafficMetricsMiddleware):
    """BentoML's `bentoml_service_*` of the paths there are, each series looked up once.

    It keeps five series for each path that it sees, for ever; who made paths up would fill the
    memory with them. To find them by their labels anew takes longer than to count.
    """

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
