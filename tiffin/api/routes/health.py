"""Says whether it is alive and ready, and which version it is.

No route here waits for a service: `tiffin.lifecycle.readiness` watches them.
"""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel

from tiffin import __version__
from tiffin.gateway import gateway_of

router = APIRouter(tags=["health"])


class Version(BaseModel):
    """Which Tiffin this is."""

    version: str


@router.get("/livez", response_class=PlainTextResponse)
@router.get("/healthz", response_class=PlainTextResponse, include_in_schema=False)
async def livez() -> str:
    """The process answers."""
    return "ok"


@router.get("/readyz")
@router.get("/health")
@router.get("/ping", include_in_schema=False)  # where RunPod's load balancer asks
async def readyz(http: Request) -> JSONResponse:
    """Answer 200 if questions can be answered, else 503.

    The status is `ready`; `degraded` if a service is missing that has a substitute; `down`; or
    `draining` from the first SIGTERM on. `away` has the tiers, providers' too, that failed lately
    and are left alone, with the seconds until they are asked again. If replicas share corpora, it
    is also `down` while their database or object storage cannot be reached; `corpora` says which.
    """
    gateway = gateway_of(http)
    state = "draining" if gateway.drain.began else gateway.readiness.state()
    if gateway.corpora.away is not None and state != "draining":
        state = "down"
    body: dict[str, object] = {"status": state, "services": gateway.readiness.services()}
    if away := gateway.away():
        body["away"] = away
    if (corpora := gateway.corpora.state()) is not None:
        body["corpora"] = corpora
    if (store := gateway.corpora.health()) is not None:
        body["store"] = store
    return JSONResponse(body, status_code=200 if state in {"ready", "degraded"} else 503)


@router.get("/version")
async def show_version() -> Version:
    """The version of Tiffin."""
    return Version(version=__version__)
