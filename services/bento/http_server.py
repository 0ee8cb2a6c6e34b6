"""Has uvicorn speak HTTP by `http_protocol.BoundedProtocol`.

Why: BentoML makes uvicorn's configuration itself and offers no way to set `http`. WebSockets are
switched off too: no service has one, and uvicorn would refuse one in plain text.

Upstream: not reported to BentoML. For what the protocol adds see `http_protocol`.
"""

from functools import partial
from typing import Any

import uvicorn

from services.bento.http_protocol import BoundedProtocol
from services.bento.versions import replace
from tiffin.config.requests import LimitSettings


def options(limits: LimitSettings) -> dict[str, Any]:
    """The arguments of `uvicorn.Config` that every service has beside BentoML's."""
    return {"http": partial(BoundedProtocol, limits=limits), "ws": "none"}


def install(limits: LimitSettings) -> None:
    """BentoML's worker looks the class up by its name when it starts the server."""
    replace(uvicorn, "Config", partial(uvicorn.Config, **options(limits)))
