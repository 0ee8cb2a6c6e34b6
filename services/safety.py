"""Safety: checks of texts by small trained heads and by patterns. No torch; a few kB of weights."""

import bentoml

from services import hosting
from tiffin.core.context import RequestContext
from tiffin.core.messages import SafetyReply, SafetyRequest, ServiceHealth


@bentoml.service(
    name="Safety",
    workers=1,
    **hosting.inner(cpu="500m", memory="256Mi", concurrency=128),
)
class Safety:
    """Judges texts; what follows from it is the caller's policy (`tiffin.config.safety`)."""

    rpc = hosting.rpc_app("Safety", max_in_flight=1024)

    def __init__(self) -> None:
        from tiffin.safety.detector import Detector  # not in the other services' processes

        self.detector = Detector()
        self.rpc.unary("check", SafetyRequest, self.check)
        self.rpc.health(self.health)
        hosting.log_ready("Safety")

    async def check(self, request: SafetyRequest, _: RequestContext) -> SafetyReply:
        """What the checks say of each text."""
        return self.detector.check(request)

    async def health(self) -> ServiceHealth:
        """Ready as soon as it runs."""
        return ServiceHealth(ready=True)


hosting.serve_rpc(Safety)
