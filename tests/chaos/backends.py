"""The weightless services of the stand: `python -m tests.chaos.backends PORT... [--batched]`.

One port a service, in the order of the arguments: Embedding, Reranker, Router, Safety,
SmallLLM. A sixth
port answers `GET /state` with what they did. The Router is the real one, by its settings; with
`--batched` the encoders stand behind the real batcher. The LLM writes `word word ...`, or what
follows `ECHO` in the prompt.
"""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from models.values import Finished, GenerateRequest, TextDelta, TokenEvent, TokenUsage
from tests.chaos.batched import Batched
from tests.support.corpora import hashed
from tests.support.services import Services
from tiffin.config.settings import load_settings
from tiffin.core.context import RequestContext
from tiffin.core.messages import (
    CountRequest,
    Embeddings,
    EmbedRequest,
    RerankRequest,
    RouteDecision,
    RouteRequest,
    SafetyRequest,
    ServiceHealth,
)
from tiffin.routing.assembly import decider_of
from tiffin.transport.server import RpcApp

TOKEN_VARIABLE = "TIFFIN_INTERNAL__TOKEN"  # noqa: S105  its name
DELAYS_S = {"embed": 0.005, "rerank": 0.01, "check": 0.001}
FIRST_S, WORD_S = 0.02, 0.01
WORDS = 30
LONG, LONG_WORD_S = 300, 0.05
"""Asked for so many tokens, the model writes so long: as many words as fit in, a word a time."""

ENDLESS = 4096
"""Asked for this many tokens, the model writes on until it is stopped."""

ECHO = "echo:"


class Counting(Services):
    """Counts the calls and the generations in work, and notes when each of those stopped."""

    def __init__(self) -> None:
        super().__init__(tiers=("small",), delays_s=DELAYS_S)
        self.decider = decider_of(load_settings())
        self.counts: Counter[str] = Counter()
        self.running = 0
        self.begun = 0
        self.stopped_at: list[float] = []

    async def embed(self, request: EmbedRequest, _: RequestContext) -> Embeddings:
        """Vectors that mean the same in every call, so that they can be stored."""
        await self._called("embed")
        return hashed(request)

    async def generate(
        self, request: GenerateRequest, context: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        del context
        self.counts["generate"] += 1
        self.running += 1
        self.begun += 1
        words, pause_s = _answer(request)
        try:
            await asyncio.sleep(FIRST_S)
            for word in words:
                yield TextDelta(word)
                await asyncio.sleep(pause_s)
            yield Finished("stop", TokenUsage(prompt_tokens=7, completion_tokens=len(words)))
        finally:
            self.running -= 1
            if (request.max_tokens or 0) >= ENDLESS:
                self.stopped_at.append(time.time())

    async def route(self, request: RouteRequest, _: RequestContext) -> RouteDecision:
        self.counts["route"] += 1
        return self.decider.decide(request)

    async def _called(self, name: str) -> None:
        self.counts[name] += 1
        await asyncio.sleep(DELAYS_S[name])


def _answer(request: GenerateRequest) -> tuple[list[str], float]:
    """The words of an answer, and the time that each takes."""
    prompt = request.messages[-1].content if request.messages else str(request.prompt)
    tokens = request.max_tokens or 0
    if ECHO in prompt:
        return prompt.partition(ECHO)[2].split(), 0.0
    if tokens >= ENDLESS:
        return ["word "] * 100_000, WORD_S
    if tokens >= LONG:
        return ["word "] * (tokens // 5), LONG_WORD_S
    return ["word "] * WORDS, WORD_S


async def main(ports: list[int], *, batched: bool) -> None:
    """Serve until killed."""
    services = Counting()
    batches = Batched(services.counts)
    encoders: Batched | Counting = batches if batched else services
    token = os.environ[TOKEN_VARIABLE]
    apps: list[Any] = []
    for name in ("Embedding", "Reranker", "Router", "Safety", "SmallLLM"):
        app = RpcApp(name, max_body_bytes=1 << 25, max_in_flight=100_000, token=token)
        app.health(_ready)
        apps.append(app)
    apps[0].unary("embed", EmbedRequest, encoders.embed)
    apps[0].unary("count", CountRequest, services.count)
    apps[1].unary("score", RerankRequest, encoders.score)
    apps[2].unary("route", RouteRequest, services.route)
    apps[3].unary("check", SafetyRequest, services.check)
    apps[4].stream("generate", GenerateRequest, services.generate)

    async def state(_: Request) -> JSONResponse:
        return JSONResponse(
            {
                "running": services.running,
                "begun": services.begun,
                "stopped_at": services.stopped_at,
                "calls": services.counts,
                "spoilt": batches.spoilt,
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
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdecimal()]
    asyncio.run(main(numbers, batched="--batched" in sys.argv))
