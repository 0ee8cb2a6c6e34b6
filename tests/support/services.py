"""Weightless stand-ins for the model services, for what the real ones cannot be made to do.

They count their calls, can be slow, and can fail on purpose.
"""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from starlette.types import ASGIApp

from models.values import Finished, FinishReason, GenerateRequest, TextDelta, TokenEvent, TokenUsage
from tests.support.serving import all_served
from tiffin.api.app import create_app, guard, paths_of, wrap
from tiffin.clients import (
    Clients,
    EmbeddingClient,
    LLMClient,
    RerankerClient,
    RouterClient,
    SafetyClient,
)
from tiffin.composition import build
from tiffin.config.settings import Settings
from tiffin.core.context import RequestContext
from tiffin.core.errors import TiffinError
from tiffin.core.messages import (
    Array,
    Checked,
    CountRequest,
    Counts,
    Embeddings,
    EmbedRequest,
    Finding,
    RerankRequest,
    RerankScores,
    RouteDecision,
    RouteRequest,
    SafetyReply,
    SafetyRequest,
    ServiceHealth,
    TokenCount,
)
from tiffin.lifecycle.drain import Drain
from tiffin.routing.assembly import decider_of
from tiffin.routing.decide import Decider
from tiffin.transport.server import RpcApp

Generate = Callable[[GenerateRequest, RequestContext], AsyncGenerator[TokenEvent, None]]


@dataclass
class Services:
    """All services at once. Vectors and scores count the words shared with the query."""

    tiers: tuple[str, ...] = ("small", "large")
    answer: tuple[str, ...] = ("The ", "tower ", "is ", "324 ", "metres ", "tall.")
    calls: list[str] = field(default_factory=list)
    fails: dict[str, TiffinError] = field(default_factory=dict)
    delays_s: dict[str, float] = field(default_factory=dict)
    prompts: list[GenerateRequest] = field(default_factory=list)
    breaks_after: int = 10**9
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    decider: Decider = field(init=False)
    """Decides as the Router does, without its model, once `entry` has made it."""
    front: ASGIApp | None = None
    """The entry service's app in front of these, once `entry` has made it."""
    socket: str = ""
    """Where the entry service listens, once `entry` has made it."""
    models: dict[str, str] = field(default_factory=dict)
    """The model of a tier, if it matters."""
    generate_of: "dict[str, Generate]" = field(default_factory=dict)
    """What answers in place of a tier's stand-in."""
    events: list[TokenEvent] = field(default_factory=list)
    reason: FinishReason = "stop"
    reads: int = 10**9
    """Words of a text that the encoders read."""
    began: int = 0
    ended: int = 0
    most_open: int = 0
    alike: bool = False
    """Whether all texts have the same embedding."""
    keeps: bool = False
    """Whether embeddings and scores are kept."""

    async def embed(self, request: EmbedRequest, _: RequestContext) -> Embeddings:
        await self._called("embed")
        words = [_words(_as_text(text)) for text in request.texts]
        shares = [len(words[0] & row) / max(1, len(row)) for row in words]
        rows = np.array([[share, 0.1] for share in shares], np.float32)
        if self.alike:
            rows = np.array([[1.0, 0.0]] * len(shares), np.float32)
        return Embeddings(Array.of(rows), len(rows), self._cut(map(_as_text, request.texts)))

    async def count(self, request: CountRequest, _: RequestContext) -> Counts:
        return Counts([len(text.split()) for text in request.texts])

    async def score(self, request: RerankRequest, _: RequestContext) -> RerankScores:
        await self._called("rerank")
        query, passages = request.query, request.passages
        queries = [query] * len(passages) if isinstance(query, str) else query
        pairs = zip(queries, passages, strict=True)
        logits = np.array([len(_words(q) & _words(text)) - 2.0 for q, text in pairs], np.float32)
        read = Array.of(2 * logits)  # as if it could read, so that the default's head judges
        return RerankScores(Array.of(logits), len(logits), self._cut(passages), read)

    def _cut(self, texts: Iterable[str]) -> list[int]:
        return [index for index, text in enumerate(texts) if len(text.split()) > self.reads]

    async def route(self, request: RouteRequest, _: RequestContext) -> RouteDecision:
        await self._called("route")
        return self.decider.decide(request)

    async def check(self, request: SafetyRequest, _: RequestContext) -> SafetyReply:
        """Flags a text for the checks whose trigger word it holds."""
        await self._called("check")
        found = [_flagged(text, request.checks) for text in request.texts]
        if request.kind == "sentence":
            for text, one in zip(request.texts, found, strict=True):
                one.orders.extend([text] if SUBTLE in text else [])
        return SafetyReply(found)

    async def count_tokens(self, request: GenerateRequest, _: RequestContext) -> TokenCount:
        self.prompts.append(request)
        return TokenCount(sum(len(turn.content.split()) for turn in request.messages))

    def tier(self, name: str) -> "Tier":
        return Tier(self, name)

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(self.delays_s.get(name, 0))
        if name in self.fails:
            raise self.fails[name]


@dataclass
class Tier:
    """One LLM tier of the stand-ins."""

    services: Services
    name: str

    async def generate(
        self, request: GenerateRequest, _: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        services = self.services
        services.prompts.append(request)
        services.began += 1
        services.most_open = max(services.most_open, services.began - services.ended)
        await services._called(self.name)  # noqa: SLF001
        try:
            for number, event in enumerate(services.events or map(TextDelta, services.answer)):
                if number == services.breaks_after:
                    raise services.fails["mid-stream"]
                yield event
                await asyncio.sleep(services.delays_s.get("token", 0))
            usage = TokenUsage(prompt_tokens=7, completion_tokens=len(services.answer))
            yield Finished(services.reason, usage)
        finally:
            services.ended += 1
            services.stopped.set()


SUBTLE = "PLEASE"
"""In a sentence that is judged by itself; a document that holds it is not flagged."""

TRIGGERS = {"injection": "OBEY", "toxicity": "RUDE", "personal_data": "a@b.com"}


def _flagged(text: str, checks: list[str]) -> Checked:
    found = []
    for check in checks:
        at = text.find(TRIGGERS.get(check, "\0"))
        if at >= 0:
            whole = check != "personal_data"
            start, end = (0, len(text)) if whole else (at, at + len(TRIGGERS[check]))
            kind = {"personal_data": "email", "toxicity": "offensive"}.get(check, check)
            found.append(Finding(check, kind, 1.0, start, end))
    orders = [one for one in re.split(r"(?<=\.) ", text) if TRIGGERS["injection"] in one]
    return Checked(found, {check: float(bool(found)) for check in checks}, orders=orders)


async def _ready() -> ServiceHealth:
    return ServiceHealth(ready=True)


def _as_text(text: str | list[int]) -> str:
    return text if isinstance(text, str) else " ".join(map(str, text))


def _words(text: str) -> set[str]:
    return set(text.lower().split())


def with_door(settings: Settings, places: int, **admission: int) -> Settings:
    """The settings with so many places at the door, and what else is said of it."""
    door = settings.resilience.admission.model_copy(update=admission)
    return settings.model_copy(
        update={
            "limits": settings.limits.model_copy(update={"concurrency": places}),
            "resilience": settings.resilience.model_copy(update={"admission": door}),
        }
    )


def served_by(settings: Settings, services: Services) -> Settings:
    """The settings with the stand-ins' tiers, and a ledger of their own.

    Embeddings and scores are kept only if the services say so, because the stand-in's depend on the
    other texts of a call.
    """
    plain = settings.tiers["small"].model_copy(update={"adapters": {}})
    tiers = {
        name: settings.tiers.get(name, plain).model_copy(
            update={"model": services.models.get(name, f"model-{name}")}
        )
        for name in services.tiers
    }
    folder = Path(tempfile.mkdtemp(prefix="tiffin-test-"))
    routing = settings.routing.model_copy(update={"ledger": str(folder / "ledger.sqlite3")})
    cache = settings.cache.model_copy(update={"retrieval": services.keeps})
    corpora = settings.corpora or folder / "corpora"
    update = {"tiers": tiers, "routing": routing, "cache": cache, "corpora": corpora}
    return settings.model_copy(update=update)


@asynccontextmanager
async def entry(services: Services, settings: Settings) -> AsyncGenerator[httpx.AsyncClient, None]:
    """The whole entry service in front of the stand-ins, and a client of it."""

    def rpc(name: str) -> RpcApp:
        app = RpcApp(name, max_body_bytes=1 << 25, max_in_flight=1000)
        app.health(_ready)
        return app

    async with AsyncExitStack() as stack:
        embedding, reranker, router = rpc("Embedding"), rpc("Reranker"), rpc("Router")
        embedding.unary("embed", EmbedRequest, services.embed)
        embedding.unary("count", CountRequest, services.count)
        reranker.unary("score", RerankRequest, services.score)
        router.unary("route", RouteRequest, services.route)
        safety = rpc("Safety")
        safety.unary("check", SafetyRequest, services.check)
        llms = [rpc(name) for name in services.tiers]
        for name, llm in zip(services.tiers, llms, strict=True):
            generate = services.generate_of.get(name, services.tier(name).generate)
            llm.stream("generate", GenerateRequest, generate)
            llm.unary("count_tokens", GenerateRequest, services.count_tokens)
        app = create_app()
        drain = Drain()
        front = guard(wrap(app, settings, drain), settings=settings, paths=paths_of(app))
        services.front = front
        urls = await stack.enter_async_context(
            all_served(embedding, reranker, router, front, safety, *llms, limits=settings.limits)
        )
        clients = Clients(
            EmbeddingClient("Embedding", urls[0]),
            RerankerClient("Reranker", urls[1]),
            RouterClient("Router", urls[2]),
            {
                name: LLMClient(name, url)
                for name, url in zip(services.tiers, urls[5:], strict=True)
            },
            safety=SafetyClient("Safety", urls[4]) if settings.safety.enabled else None,
        )
        served = served_by(settings, services)
        services.decider = decider_of(served, with_model=False)
        gateway = app.state.gateway = build(served, clients, drain)
        gateway.start()
        stack.push_async_callback(gateway.stop)
        socket = services.socket = urls[3].removeprefix("file://")
        http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket), base_url="http://tiffin", timeout=10
        )
        await stack.enter_async_context(http)
        async with asyncio.timeout(5):
            while gateway.readiness.missing():
                await asyncio.sleep(0.01)
        yield http


def frames_of(text: str) -> list[Any]:
    """The events of a stream of server-sent events, without its end."""
    return [
        json.loads(line.removeprefix("data: "))
        for line in text.splitlines()
        if line.startswith("data: {")
    ]
