"""The page at `/`: its files from `tiffin/playground/`, and what they ask of the server.

The files are open to everyone, keys or not: they hold nothing of anyone, and the page asks for a
key itself. `/v1/playground`, which says what is served here, needs one like every other route.
"""

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from tiffin import __version__
from tiffin.api.middleware.behind import InOurShape
from tiffin.core.names import AUTO
from tiffin.core.values import QUOTE
from tiffin.gateway import Gateway, gateway_of

FILES = "/playground"
"""Where the files are. `/` is `index.html` among them."""

CORPORA = "/v1/vector_stores"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # ask whether it has changed: a new version has the same names
}

router = APIRouter(include_in_schema=False)


class Choice(BaseModel):
    """A name that a question may have as its `model`, and the model behind it if there is one."""

    name: str
    model: str | None = None


class StageBudget(BaseModel):
    """A stage in the order in which they run; `beside` others, or `last`, once all have ended."""

    name: str
    budget_ms: float
    beside: bool = False
    last: bool = False


class Limits(BaseModel):
    """What a question may not exceed."""

    documents: int
    document_chars: int
    query_chars: int


class About(BaseModel):
    """What the page needs to know of this server."""

    version: str
    profile: str
    models: list[Choice]
    services: Annotated[dict[str, str], Field(description="The model of each service.")]
    stages: list[StageBudget]
    rest_ms: Annotated[float, Field(description="The part of the budgets that no stage has.")]
    deadline_ms: int
    limits: Limits
    corpora: Annotated[bool, Field(description="Whether the server keeps corpora.")]


@router.get("/v1/playground")
async def about(http: Request) -> About:
    """Say which models, budgets and limits there are."""
    gateway = gateway_of(http)
    settings, pipeline = gateway.settings, gateway.pipeline
    return About(
        version=__version__,
        profile=settings.profile,
        models=_choices(gateway),
        services={service.name: section.model for service, section in settings.with_models()},
        stages=_stages(gateway),
        rest_ms=pipeline.rest_ms,
        deadline_ms=settings.rag.deadline_ms,
        limits=Limits.model_validate(settings.limits, from_attributes=True),
        corpora=any(getattr(route, "path", "") == CORPORA for route in http.app.routes),
    )


def _choices(gateway: Gateway) -> list[Choice]:
    policies = [name for name in gateway.settings.routing.policies if name != AUTO]
    return [
        Choice(name=AUTO),
        Choice(name=QUOTE),
        *(Choice(name=tier, model=model) for tier, model in gateway.models.items()),
        *(Choice(name=name) for name in policies),
    ]


def _stages(gateway: Gateway) -> list[StageBudget]:
    pipeline = gateway.pipeline
    after = {pipeline.writer.name, *(stage.name for stage in pipeline.closing)}
    return [
        StageBudget(
            name=name, budget_ms=budget, beside=name == pipeline.route.name, last=name in after
        )
        for name, budget in pipeline.budgets_ms.items()
    ]


class _Files(StaticFiles):
    """The page's files, with the headers that let them reach nothing but this server."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file, or 304 if the browser has it."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def install(app: FastAPI) -> None:
    """Serve the page of an app that has its routes."""
    page = _Files(directory=str(files("tiffin") / "playground"))

    @app.get("/", include_in_schema=False)
    async def index(http: Request) -> Response:
        return await page.get_response("index.html", http.scope)

    app.mount(FILES, InOurShape(page))
