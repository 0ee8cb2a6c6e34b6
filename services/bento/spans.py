"""Leaves BentoML's OpenTelemetry middleware out unless spans are exported.

Why: without an exporter it still records every request and, of a stream, every chunk, and no one
sees any of it (docs/decisions/0007).

Upstream: open-telemetry/opentelemetry-python-contrib#831 and #3992 report the span for each chunk;
`exclude_spans` would switch it off, but BentoML does not pass it on. That BentoML records without
an exporter is not reported.
"""

from bentoml._internal.configuration.containers import BentoMLContainer
from opentelemetry.instrumentation import asgi
from starlette.types import ASGIApp

from services.bento.versions import replace


def install() -> None:
    """BentoML's app looks the class up by its name when it is built."""
    if not BentoMLContainer.config.tracing.exporter_type.get():
        replace(asgi, "OpenTelemetryMiddleware", _left_out)


def _left_out(app: ASGIApp, **_: object) -> ASGIApp:
    return app
