"""What BentoML puts in front of every service, made fit for months of requests.

`services/hosting.py` installs it when it is imported, before BentoML builds a service's app.
"""

from collections.abc import Container
from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.server.http import instruments, traffic
from starlette.types import ASGIApp, Receive, Scope, Send

counted: list[Container[str]] = []
"""The paths that the services answer. They may still grow; a process runs one of the services."""


def install() -> None:
    """Put ours in the place of BentoML's, which its app looks up by name."""
    # BentoML's timer outlives the request that it is for: 5 kB of each stay for 15 minutes. Every
    # request has a deadline of ours, which ends it sooner and typed.
    traffic.TimeoutMiddleware = _without_timeout  # type: ignore[assignment,misc]
    instruments.RunnerTrafficMetricsMiddleware = KnownPathsMetrics  # type: ignore[misc]


def tracing() -> dict[str, Any]:
    """The services' tracing: none where nobody exports it, for BentoML records every span even so.

    A span for each chunk of a stream is a sixth of what the entry service spends on a request.
    """
    exports = BentoMLContainer.config.tracing.exporter_type.get()
    return {} if exports else {"excluded_urls": ".*"}


def _without_timeout(app: ASGIApp, timeout: float) -> ASGIApp:  # noqa: ARG001  as BentoML calls it
    return app


class KnownPathsMetrics(instruments.RunnerTrafficMetricsMiddleware):
    """BentoML's `bentoml_service_*` of the paths there are.

    It keeps five series for each path that it sees, for ever; who made paths up would fill the
    memory with them.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and not any(scope["path"] in paths for paths in counted):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
