"""Leaves BentoML's timeout of requests out.

Why: its timer outlives the request that it is for, so that 5 kB of each request stay in memory for
the 15 minutes of `hosting.REQUEST_TIMEOUT_S`. Every request has a deadline of ours, which ends it
sooner and typed (docs/decisions/0007).

Upstream: the leak is not reported. BentoML#5642 reports that what runs in a thread goes on after
the timeout; pull requests 5621 and 5654 would apply the timeout to mounted apps as well.
"""

from bentoml._internal.server.http import traffic
from starlette.types import ASGIApp

from services.bento.versions import replace


def install() -> None:
    """BentoML's app looks the class up by its name when it is built."""
    replace(traffic, "TimeoutMiddleware", _left_out)


def _left_out(app: ASGIApp, **_: object) -> ASGIApp:
    return app
