"""BentoML services for the gateway benchmark: our entry app in front of an LLM without weights.

Served by `bench.gateway` with `bentoml serve bench.gateway_services:Gate`.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import bentoml

from models.values import Finished, GenerateRequest, TextDelta, TokenEvent, TokenUsage
from tiffin.api.app import create_app, guard, is_ours, wrap
from tiffin.api.state import Gateway
from tiffin.context import RequestContext
from tiffin.ops.drain import Drain
from tiffin.ops.readiness import Readiness
from tiffin.ops.settings import load_settings
from tiffin.ops.turnstile import Turnstile
from tiffin.pipeline.chat import ChatPipeline
from tiffin.pipeline.generate import Generator
from tiffin.pipeline.rag import RagPipeline
from tiffin.pipeline.retrieve import Retriever
from tiffin.routing import rules
from tiffin.transport import wire
from tiffin.transport.clients import EmbeddingClient, LLMClient, RerankerClient, RouterClient
from tiffin.transport.door import Door
from tiffin.transport.messages import RouteDecision, RouteRequest, ServiceHealth
from tiffin.transport.server import RpcApp

ANSWER = "The tower is 324 metres tall."

settings = load_settings(profile="laptop")
rpc = RpcApp("Weightless", max_body_bytes=1 << 20, max_in_flight=1024)
app = create_app()
drain = Drain()


@bentoml.service(name="Weightless", logging={"access": {"enabled": False}})
class Weightless:
    """An LLM tier and a router in one. The request's seed says how many ms an answer takes."""

    def __init__(self) -> None:
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
        """By the rules, as the Router does."""
        return rules.decide(request.query, request.model, ["small"])

    async def health(self) -> ServiceHealth:
        """Ready as soon as it runs."""
        return ServiceHealth(ready=True)


# The type checker takes a decorated class for what it was before.
weightless = cast("bentoml.Service[Any]", Weightless)
weightless.add_asgi_middleware(Door, front=rpc, owns=lambda _, path: path.startswith(wire.PREFIX))


@bentoml.service(name="Gate", logging={"access": {"enabled": False}})
class Gate:
    """The entry service, as `services/rag.py` makes it."""

    llm = bentoml.depends(Weightless)

    def __init__(self) -> None:
        url = weightless.url or ""
        llm, router = LLMClient("SmallLLM", url), RouterClient("Router", url)
        generator, models = Generator({"small": llm}), {"small": "weightless"}
        retriever = Retriever(EmbeddingClient("Embedding", url), RerankerClient("Reranker", url))
        self.gateway = Gateway(
            settings,
            RagPipeline(
                retriever,
                router,
                generator,
                models=models,
                defaults=settings.rag,
                resilience=settings.resilience,
            ),
            ChatPipeline(router, generator, models),
            Readiness({}),  # a busy machine must not end the measurement
            Turnstile(settings.limits.concurrency, settings.resilience.admission),
            drain,
        )

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the routes."""
        self.gateway.readiness.start()
        app.state.gateway = self.gateway


gate = cast("bentoml.Service[Any]", Gate)
gate.add_asgi_middleware(guard, settings=settings)
gate.add_asgi_middleware(Door, front=wrap(app, settings, drain), owns=is_ours)
