"""The weightless services of the stand: `python -m tests.chaos.backends PORT...`.

One port a service, in the order of the arguments: Embedding, Reranker, Router, SmallLLM. A fifth
port answers `GET /state` with what they did.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from models.values import GenerateRequest, TokenEvent
from tests.support.services import Services
from tiffin.context import RequestContext
from tiffin.transport.messages import EmbedRequest, RerankRequest, RouteRequest, ServiceHealth
from tiffin.transport.server import RpcApp

TOKEN_VARIABLE = "TIFFIN_INTERNAL__TOKEN"  # noqa: S105  its name
DELAYS_S = {"embed": 0.005, "rerank": 0.01, "small": 0.02, "token": 0.01}
WORDS = 30
ENDLESS = 4096
"""Asked for this many tokens, the model writes on until it is stopped."""


class Counting(Services):
    """Counts the generations in work and notes when each stopped."""

    def __init__(self) -> None:
        super().__init__(tiers=("small",), delays_s=DELAYS_S)
        self.running = 0
        self.begun = 0
        self.stopped_at: list[float] = []

    async def generate(
        self, request: GenerateRequest, context: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        endless = (request.max_tokens or 0) >= ENDLESS
        self.prompts.clear()
        self.calls.clear()
        self.answer = ("word ",) * (100_000 if endless else WORDS)
        self.running += 1
        self.begun += 1
        try:
            async for event in self.tier("small").generate(request, context):
                yield event
        finally:
            self.running -= 1
            if endless:
                self.stopped_at.append(time.time())


async def main(ports: list[int]) -> None:
    """Serve until killed."""
    services = Counting()
    token = os.environ[TOKEN_VARIABLE]
    apps: list[Any] = []
    for name in ("Embedding", "Reranker", "Router", "SmallLLM"):
        app = RpcApp(name, max_body_bytes=1 << 25, max_in_flight=100_000, token=token)
        app.health(_ready)
        apps.append(app)
    apps[0].unary("embed", EmbedRequest, services.embed)
    apps[1].unary("score", RerankRequest, services.score)
    apps[2].unary("route", RouteRequest, services.route)
    apps[3].stream("generate", GenerateRequest, services.generate)

    async def state(_: Request) -> JSONResponse:
        return JSONResponse(
            {
                "running": services.running,
                "begun": services.begun,
                "stopped_at": services.stopped_at,
                "tasks": len(asyncio.all_tasks()),
            }
        )

    apps.append(Starlette(routes=[Route("/state", state)]))
    servers = [
        uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
        for app, port in zip(apps, ports, strict=True)
    ]
    await asyncio.gather(*(server._serve() for server in servers))  # noqa: SLF001


async def _ready() -> ServiceHealth:
    return ServiceHealth(ready=True)


if __name__ == "__main__":
    asyncio.run(main([int(argument) for argument in sys.argv[1:]]))
