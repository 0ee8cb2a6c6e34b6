"""BentoML services for the gateway benchmark: our entry app in front of an LLM without weights.

Served by `bench.gateway` with `bentoml serve bench.gateway_services:Gate`.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import bentoml

from models.values import Finished, GenerateRequest, TextDelta, TokenEvent, TokenUsage
from services.bento import logs, request_metrics, seams
from tiffin.api.app import create_app, guard, is_ours, paths_of, wrap
from tiffin.clients import Clients, EmbeddingClient, LLMClient, RerankerClient, RouterClient
from tiffin.composition import build
from tiffin.config.settings import load_settings
from tiffin.core.context import RequestContext
from tiffin.core.messages import RouteDecision, RouteRequest, ServiceHealth
from tiffin.gateway import Gateway
from tiffin.lifecycle import memory
from tiffin.lifecycle.drain import Drain
from tiffin.lifecycle.readiness import Readiness
from tiffin.routing.assembly import decider_of
from tiffin.telemetry import tracing
from tiffin.transport import wire
from tiffin.transport.dispatcher import Dispatcher
from tiffin.transport.server import RpcApp

ANSWER = "The tower is 324 metres tall."

LIKE_OURS: dict[str, Any] = {"logging": {"access": {"enabled": False}}}
settings = load_settings(profile="laptop")
seams.install(settings.limits)
logs.install(settings.logs)
rpc = RpcApp("Weightless", max_body_bytes=1 << 20, max_in_flight=1024)
app = create_app()
drain = Drain()
decider = decider_of(settings, with_model=False)


def gateway_before(url: str) -> Gateway:
    """The gateway in front of the one service at this URL, with a ledger of its own."""
    clients = Clients(
        EmbeddingClient("Embedding", url),
        RerankerClient("Reranker", url),
        RouterClient("Router", url),
        {"small": LLMClient("SmallLLM", url)},
    )
    ledger = f"{tempfile.mkdtemp(prefix='tiffin-bench-')}/ledger.sqlite3"
    routing = settings.routing.model_copy(update={"ledger": ledger})
    gateway = build(settings.model_copy(update={"routing": routing}), clients, drain)
    # A busy machine must not end the measurement.
    return replace(gateway, readiness=Readiness({}, drain))


@bentoml.service(name="Weightless", **LIKE_OURS)
class Weightless:
    """An LLM tier and a router in one. The request's seed says how many ms an answer takes."""

    def __init__(self) -> None:
        tracing.start(settings.tracing, "Weightless")
        rpc.stream("generate", GenerateRequest, self.generate)
        rpc.unary("route", RouteRequest, self.route)
        rpc.health(self.health)

    async def generate(
        self, request: GenerateRequest, _: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        """One text, then the end."""
        if request.seed:
            await asyncio.sleep(request.seed / 1000)
        yield TextDelta(ANSWER)
        yield Finished("stop", TokenUsage(prompt_tokens=10, completion_tokens=8))

    async def route(self, request: RouteRequest, _: RequestContext) -> RouteDecision:
        """By the policy, as the Router does."""
        return decider.decide(request)

    async def health(self) -> ServiceHealth:
        """Ready as soon as it runs."""
        return ServiceHealth(ready=True)


# The type checker does not see what BentoML's decorator makes of a class.
weightless: Any = Weightless
weightless.add_asgi_middleware(
    Dispatcher, front=rpc, owns=lambda _, path: path.startswith(wire.PREFIX)
)


@bentoml.service(name="Gate", **LIKE_OURS)
class Gate:
    """The entry service, as `services/rag.py` makes it."""

    llm = bentoml.depends(Weightless)

    def __init__(self) -> None:
        self.gateway = gateway_before(weightless.url or "")

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the routes, and trace if the settings say so."""
        tracing.start(settings.tracing, "Gate")
        self.gateway.readiness.start()
        app.state.gateway = self.gateway
        memory.settle()


request_metrics.counted += [rpc.paths, paths_of(app)]
gate: Any = Gate
gate.add_asgi_middleware(guard, settings=settings, paths=paths_of(app))
gate.add_asgi_middleware(Dispatcher, front=wrap(app, settings, drain), owns=is_ours)
