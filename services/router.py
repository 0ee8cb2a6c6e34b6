"""Router: decides which tier should answer. Its model is a few kB; no token passes through it."""

import bentoml

from services import hosting
from services.hosting import settings
from tiffin.core.context import RequestContext
from tiffin.core.messages import RouteDecision, RouteRequest, ServiceHealth
from tiffin.routing.assembly import decider_of


@bentoml.service(
    name="Router",
    workers=1,
    **hosting.inner(cpu="500m", memory="256Mi", concurrency=128),
)
class Router:
    """Decides beside retrieval; the entry service then streams straight from the tier."""

    rpc = hosting.rpc_app("Router", max_in_flight=1024)

    def __init__(self) -> None:
        self.decider = decider_of(settings)
        self.rpc.unary("route", RouteRequest, self.route)
        self.rpc.health(self.health)
        hosting.log_ready("Router")

    async def route(self, request: RouteRequest, _: RequestContext) -> RouteDecision:
        """The tier to ask, why, and which next."""
        return self.decider.decide(request)

    async def health(self) -> ServiceHealth:
        """Ready as soon as it runs."""
        return ServiceHealth(ready=True)


hosting.serve_rpc(Router)
