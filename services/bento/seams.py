"""The seams of a process that serves.

`services/hosting.py` installs them when it is imported, before BentoML builds a service's app.
"""

from services.bento import http_server, request_metrics, spans, timeout
from tiffin.config.requests import LimitSettings


def install(limits: LimitSettings) -> None:
    """Put all of them in place."""
    http_server.install(limits)
    request_metrics.install()
    spans.install()
    timeout.install()
