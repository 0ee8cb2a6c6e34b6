"""What the routes work with. `services/rag.py` makes it when its service starts."""

from dataclasses import dataclass

from starlette.requests import Request

from tiffin.config.settings import Settings
from tiffin.core.context import RequestContext
from tiffin.core.errors import Unavailable
from tiffin.lifecycle.drain import Drain
from tiffin.lifecycle.readiness import Readiness
from tiffin.pipeline.chat import ChatPipeline
from tiffin.pipeline.rag import RagPipeline
from tiffin.traffic.admission import AdmissionQueue


@dataclass(frozen=True)
class Gateway:
    """The running application behind the routes."""

    settings: Settings
    pipeline: RagPipeline
    chat: ChatPipeline
    readiness: Readiness
    admission: AdmissionQueue
    drain: Drain


def gateway_of(http: Request) -> Gateway:
    """The gateway of this app. Raises Unavailable until the service has started."""
    gateway: Gateway | None = getattr(http.app.state, "gateway", None)
    if gateway is None:
        message = "the service is starting"
        raise Unavailable(message)
    return gateway


def work_of(http: Request) -> tuple[Gateway, RequestContext]:
    """The gateway, and the context that `tiffin.api.middleware.context` gave the request.

    Called by the routes themselves: FastAPI takes longer over two `Depends` than over the body.
    """
    return gateway_of(http), http.state.context
