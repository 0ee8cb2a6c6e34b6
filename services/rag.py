"""RAG: the entry service. One URL in front; it calls the others and holds no model."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import bentoml

from services import hosting
from services.embedding import Embedding
from services.hosting import settings
from services.image import image
from services.llm import LargeLLM, SmallLLM
from services.reranker import Reranker
from services.router import Router
from tiffin.api.app import create_app, guard, is_ours, paths_of, wrap
from tiffin.api.errors import error_response
from tiffin.api.middleware.behind import InOurShape
from tiffin.api.routes.rag import answer_events, whole_answer
from tiffin.api.sse import frames
from tiffin.clients import EmbeddingClient, LLMClient, RerankerClient, RouterClient
from tiffin.config.routing import check_keys
from tiffin.config.settings import SettingsError
from tiffin.config.topology import sleepers
from tiffin.core.context import Deadline, RequestContext
from tiffin.core.errors import Unavailable
from tiffin.core.values import RagAnswer, RagEvent, RagRequest
from tiffin.gateway import Gateway
from tiffin.lifecycle.drain import Drain
from tiffin.lifecycle.readiness import Readiness
from tiffin.pipeline.chat import ChatPipeline
from tiffin.pipeline.generate import LLM, Generator
from tiffin.pipeline.rag import RagPipeline
from tiffin.pipeline.retrieve import Retriever
from tiffin.providers.connect import connect_providers
from tiffin.routing.client import Routing
from tiffin.routing.decide import decider_of
from tiffin.routing.ledger import Ledger
from tiffin.routing.meter import Meter
from tiffin.routing.storage import LedgerError, open_storage
from tiffin.traffic import saturation
from tiffin.traffic.admission import AdmissionQueue
from tiffin.traffic.failover import Failover
from tiffin.traffic.limiter import Limiter
from tiffin.transport.client import ServiceClient

TIERS: dict[str, "bentoml.Service[Any]"] = {"small": SmallLLM, "large": LargeLLM}

app = create_app()
drain = Drain()

Client = TypeVar("Client", bound=ServiceClient)


def connect(kind: type[Client], service: "bentoml.Service[Any]") -> Client:
    """A client of a service at the URL that BentoML gives."""
    if service.url is None:
        message = f"{service.name} has no address: start it with `bentoml serve`"
        raise Unavailable(message)
    limiter = Limiter(f"calls to {service.name}")
    return kind(service.name, service.url, settings.internal.token_text(), limiter)


@bentoml.service(
    name="RAG",
    workers=1,
    resources=hosting.resources(cpu="1", memory="512Mi", gpus=0),
    traffic={"timeout": hosting.REQUEST_TIMEOUT_S, "concurrency": settings.limits.concurrency},
    labels={hosting.PROFILE_LABEL: settings.profile},
    http={"host": "127.0.0.1"},  # unless --host or BENTOML_HOST says otherwise
    image=image(),
)
class RAG:
    """Answers questions from documents, with citations."""

    embedding = bentoml.depends(Embedding)
    reranker = bentoml.depends(Reranker)
    router = bentoml.depends(Router)
    small_llm = bentoml.depends(SmallLLM) if "small" in settings.tiers else None
    large_llm = bentoml.depends(LargeLLM) if "large" in settings.tiers else None

    def __init__(self) -> None:
        embedding = connect(EmbeddingClient, Embedding)
        reranker = connect(RerankerClient, Reranker)
        router = connect(RouterClient, Router)
        tiers = {name: connect(LLMClient, TIERS[name]) for name in settings.tiers}
        self.providers = connect_providers(settings.providers)
        llms: dict[str, LLM] = {str(name): client for name, client in tiers.items()}
        llms |= self.providers
        decider = decider_of(settings, with_model=False)
        self.ledger = Ledger(settings.ledger_at())
        meter = Meter(decider.fleet, self.ledger)
        failover = Failover(settings.routing.failover)
        self.clients: dict[str, ServiceClient] = {
            "Embedding": embedding,
            "Reranker": reranker,
            "Router": router,
            **{TIERS[name].name: client for name, client in tiers.items()},
        }
        routing = Routing(router, embedding, decider, meter, failover)
        generator = Generator(llms, meter, failover)
        models = {tier.name: tier.model for tier in decider.fleet}
        pipeline = RagPipeline(
            Retriever(embedding, reranker),
            routing,
            generator,
            models=models,
            defaults=settings.rag,
            resilience=settings.resilience,
        )
        self.gateway = Gateway(
            settings,
            pipeline,
            ChatPipeline(routing, generator, models, settings.resilience.stream),
            Readiness(
                self.clients,
                drain,
                optional=frozenset(self.clients),
                any_of=frozenset(TIERS[name].name for name in tiers),
                # Composed, everything starts with this service.
                may_sleep=frozenset(
                    service.name
                    for service in TIERS.values()
                    if service.name in sleepers(settings) and str(service.url).startswith("http")
                ),
            ),
            AdmissionQueue(settings.limits.concurrency, settings.resilience.admission),
            drain,
        )

    @bentoml.on_deployment
    def announce() -> None:  # BentoML makes it static
        """Say once with which settings it starts.

        Without keys it takes no open address; without those of its providers, or a ledger, it does
        not start.
        """
        hosting.check_access(hosting.configured_hosts())
        try:
            check_keys(settings.providers)
            open_storage(settings.ledger_at()).close()
        except (SettingsError, LedgerError) as error:
            raise SystemExit(f"tiffin: {error}") from None
        hosting.logger.info("settings: %s", settings.model_dump_json())

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the routes; they answer 503 until the services behind are ready."""
        hosting.check_access(hosting.bound_hosts())
        self.gateway.readiness.start()
        calls = {name: client.limiter for name, client in self.clients.items()}
        self.watching = asyncio.create_task(saturation.watch(self.gateway.admission, calls))
        app.state.gateway = self.gateway
        drain.on_signals(settings.resilience.supervision, self.cut_off)
        hosting.log_ready("RAG")

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Close the connections to the services."""
        self.watching.cancel()
        await self.gateway.readiness.stop()
        for client in self.clients.values():
            await client.close()
        for provider in self.providers.values():
            await provider.close()
        self.ledger.close()

    async def cut_off(self) -> None:
        """End the calls in work: what waits for them ends typed."""
        await self.gateway.readiness.stop()
        for client in self.clients.values():
            client.lost = "the server is shutting down"

    # Over HTTP our own routes of the same names answer first (tiffin.api.routes.rag). These
    # declare them to BentoML, whose clients learn from its schema which methods there are.

    @bentoml.api(input_spec=RagRequest)
    async def rag_query(self, **fields: object) -> RagAnswer:
        """Answer a question from the documents given with it."""
        return await whole_answer(self._events(fields))

    @bentoml.api(input_spec=RagRequest)
    async def rag_stream(self, **fields: object) -> AsyncGenerator[str, None]:
        """The same as server-sent events."""
        async for frame in frames(self._events({**fields, "stream": True})):
            yield frame

    def _events(self, fields: dict[str, object]) -> AsyncGenerator[RagEvent, None]:
        deadline = Deadline.after(settings.rag.deadline_ms / 1000)
        return answer_events(
            RagRequest.model_validate(fields), self.gateway, RequestContext(deadline)
        )


# Outermost, so that BentoML's routes need a key too.
hosting.put_in_front(RAG, guard, settings=settings)
hosting.serve_in_front(RAG, wrap(app, settings, drain), is_ours, paths_of(app), error_response)
hosting.put_in_front(RAG, InOurShape)  # behind the door: what BentoML answers passes here
