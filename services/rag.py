"""RAG: the entry service. One URL in front; it calls the others and holds no model.

Every process of a composition imports this module, but only the entry service's runs the
application: what that needs is imported where it is used, which spares each of the others 0.3 s of
CPU time and 6 MiB.
"""

from collections.abc import AsyncGenerator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import bentoml
from starlette.types import ASGIApp

from services import hosting
from services.bento import request_metrics
from services.bento.addresses import bound_hosts, configured_hosts
from services.bento.bento_yaml import PROFILE_LABEL
from services.bento.image import image
from services.embedding import Embedding
from services.hosting import settings
from services.llm import LLMS
from services.reranker import Reranker
from services.router import Router
from services.safety import Safety
from tiffin.config.routing import check_keys
from tiffin.config.section import SettingsError
from tiffin.config.services import BY_TIER
from tiffin.config.topology import sleepers
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import Unavailable
from tiffin.core.values import RagAnswer, RagEvent, RagRequest
from tiffin.lifecycle.drain import Drain
from tiffin.transport.dispatcher import Dispatcher

if TYPE_CHECKING:
    from tiffin.clients import Clients
    from tiffin.transport.client import ServiceClient

drain = Drain()

Client = TypeVar("Client", bound="ServiceClient")


def connect(kind: type[Client], service: "bentoml.Service[Any]") -> Client:
    """A client of a service at the URL that BentoML gives."""
    if service.url is None:
        raise Unavailable(f"{service.name} has no address: start it with `bentoml serve`")
    return kind(service.name, service.url, settings.internal.token_text())


def connect_all() -> "Clients":
    """One client a service. Composed, all services start together, so none of them sleeps."""
    from tiffin import clients

    tiers = {name: LLMS[BY_TIER[name].name] for name in settings.tiers}
    apart = {one.name for one in tiers.values() if str(one.url).startswith("http")}
    return clients.Clients(
        connect(clients.EmbeddingClient, Embedding),
        connect(clients.RerankerClient, Reranker),
        connect(clients.RouterClient, Router),
        {name: connect(clients.LLMClient, service) for name, service in tiers.items()},
        may_sleep=sleepers(settings) & apart,
        safety=connect(clients.SafetyClient, Safety) if settings.safety.enabled else None,
    )


def depends_on(tier: str) -> Any:  # noqa: ANN401  BentoML's dependency, or None
    """What the entry service declares of a tier: None if the profile does not have it."""
    return bentoml.depends(LLMS[BY_TIER[tier].name]) if tier in settings.tiers else None


@bentoml.service(
    name="RAG",
    workers=1,
    resources=hosting.resources(cpu="1", memory="512Mi", gpus=0),
    traffic={"timeout": hosting.REQUEST_TIMEOUT_S, "concurrency": settings.limits.concurrency},
    labels={PROFILE_LABEL: settings.profile},
    logging=hosting.NO_ACCESS_LOG,
    http={"host": "127.0.0.1"},  # unless --host or BENTOML_HOST says otherwise
    image=None if hosting.IN_WORKER else image(),
)
class RAG:
    """Answers questions from documents, with citations."""

    embedding = bentoml.depends(Embedding)
    reranker = bentoml.depends(Reranker)
    router = bentoml.depends(Router)
    safety = bentoml.depends(Safety) if settings.safety.enabled else None
    small_llm = depends_on("small")
    large_llm = depends_on("large")

    def __init__(self) -> None:
        from tiffin.composition import build

        self.gateway = build(settings, connect_all(), drain)

    @bentoml.on_deployment
    def announce() -> None:  # BentoML makes it static
        """Say once with which settings it starts.

        It does not start on an open address without keys, nor without the keys of its providers or
        its ledger.
        """
        from tiffin.corpus.shared import check_driver
        from tiffin.routing.storage import LedgerError, open_storage

        hosting.check_access(configured_hosts())
        try:
            check_keys(settings.providers)
            open_storage(settings.ledger_at()).close()
            check_driver(settings.corpora_database)
        except (SettingsError, LedgerError) as error:
            raise SystemExit(f"tiffin: {error}") from None
        hosting.logger.info("settings: %s", settings.model_dump_json())

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the routes; they answer 503 until the services behind are ready."""
        hosting.check_access(bound_hosts())
        self.gateway.start()
        our_app().state.gateway = self.gateway
        drain.on_signals(settings.resilience.supervision, self.gateway.cut_off)
        hosting.log_ready("RAG")

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Close the connections to the services."""
        await self.gateway.stop()

    # Over HTTP our own routes of the same names answer first (tiffin.api.routes.rag). These
    # declare them to BentoML, whose clients learn from its schema which methods there are.

    @bentoml.api(input_spec=RagRequest)
    async def rag_query(self, **fields: object) -> RagAnswer:
        """Answer a question from the documents given with it."""
        from tiffin.gateway import whole_answer

        return await whole_answer(self._events(fields))

    @bentoml.api(input_spec=RagRequest)
    async def rag_stream(self, **fields: object) -> AsyncGenerator[str, None]:
        """The same as server-sent events."""
        from tiffin.api.sse import frames

        async for frame in frames(self._events({**fields, "stream": True})):
            yield frame

    def _events(self, fields: dict[str, object]) -> AsyncGenerator[RagEvent, None]:
        from tiffin.api.checks import check_rag_request

        request = RagRequest.model_validate(fields)
        check_rag_request(request, settings.limits)
        deadline = Deadline.after(settings.rag.deadline_ms / 1000)
        return self.gateway.ask(request, RequestContext(deadline))


@cache
def our_app() -> Any:  # noqa: ANN401  FastAPI's class would import FastAPI
    """The routes, made in the entry service's process only.

    FastAPI takes 10 MiB and 0.3 s, and every process of a composition imports this module.
    """
    from tiffin.api.app import create_app

    return create_app()


def front(bentoml_app: ASGIApp) -> ASGIApp:
    """What is before BentoML's app. BentoML calls it in the entry service's process only.

    The guard is outermost, so that BentoML's routes need a key too.
    """
    from tiffin.api.app import guard, is_ours, paths_of, wrap
    from tiffin.api.errors import error_response
    from tiffin.api.middleware.behind import InOurShape

    paths = paths_of(our_app())
    request_metrics.counted.append(paths)
    dispatcher = Dispatcher(
        InOurShape(bentoml_app),
        front=wrap(our_app(), settings, drain),
        owns=is_ours,
        refuse=error_response,
    )
    return guard(dispatcher, settings=settings, paths=paths)


cast("Any", RAG).add_asgi_middleware(front)  # BentoML's decorator made a service of the class
