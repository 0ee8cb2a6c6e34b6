"""`/openapi.json` and the page at `/docs` that calls what it describes, without any network.

FastAPI describes the routes. This module adds the headers that they read and write, the errors
that they answer with, the keys, and what BentoML answers on the same URL. The page's files are data
of the fastapi-offline package.
"""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from tiffin.api.bodies import TRUNCATED_HEADER
from tiffin.api.errors import ErrorBody
from tiffin.api.examples import ALIASES, fill_in
from tiffin.api.middleware.access import OPEN_PATHS
from tiffin.api.middleware.behind import InOurShape
from tiffin.api.middleware.context import (
    DEBUG_HEADER,
    DECISION_HEADER,
    MAX_TIMEOUT_MS,
    PRIORITIES,
    PRIORITY_HEADER,
    TIMEOUT_HEADERS,
)
from tiffin.api.request_id import REQUEST_ID_HEADER
from tiffin.api.sse import MEDIA_TYPE as EVENTS
from tiffin.gateway import Gateway

ASSETS = "/docs/assets"
PAGE_DOCUMENT = "/docs/openapi.json"

ERRORS = {
    "400": "A field is missing, unknown or impossible; `param` names it.",
    "401": "No API key, or one that is not valid; only if keys are set up.",
    "404": "No such route or model.",
    "405": "The route takes another method.",
    "408": "The request did not arrive in full in time.",
    "413": "The body passes its limit.",
    "415": "Neither pickled messages nor compressed bodies are read.",
    "422": "A field passes its limit.",
    "429": "The key has spent its minute; see `Retry-After`.",
    "431": "The headers pass their limit.",
    "500": "A model broke while it worked.",
    "503": "Too many requests are in flight, or a service is missing; see `Retry-After`.",
    "504": "The deadline passed.",
}
WITHOUT_BODY = ("400", "401", "405", "408", "415", "429", "431", "500", "503", "504")
PROBE = ("400", "405", "408", "415", "431")

TIMEOUT_MS = {"type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_MS}
TEXT = {"type": "string"}
SENT: dict[str, tuple[str, dict[str, Any]]] = {
    REQUEST_ID_HEADER: (
        "Your name for the request: up to 128 visible ASCII characters. Any other is not taken.",
        TEXT,
    ),
    TIMEOUT_HEADERS[0]: ("The deadline of this request, in place of the route's own.", TIMEOUT_MS),
    TIMEOUT_HEADERS[1]: ("The same, as Envoy sends it; the other one goes before.", TIMEOUT_MS),
    PRIORITY_HEADER: (
        "`batch`: no one waits for it, so it gives way to others.",
        {"type": "string", "enum": list(PRIORITIES), "default": PRIORITIES[0]},
    ),
    DEBUG_HEADER: (f"`1` asks for the routing decision, in `{DECISION_HEADER}`.", TEXT),
    "traceparent": ("W3C trace context; it is passed on to every service.", TEXT),
}
"""What requests may carry and every route reads. BentoML's routes read only the id."""

HEADERS = {
    "x-request-id": "Names the request in the log; yours, if you sent one.",
    "www-authenticate": "`Bearer`.",
    "allow": "The methods that the route takes.",
    "retry-after": "Seconds after which there may be room.",
    "openai-processing-ms": "Until the answer began.",
    "x-tiffin-tier": "Who answered.",
    "x-tiffin-cost-usd": "What it cost. A stream does not have it, because it has only begun.",
    "x-tiffin-degraded": "What the answer was given without.",
    TRUNCATED_HEADER: "How many inputs the model did not read to their end, if any.",
    DECISION_HEADER: f"How the tier was chosen, as JSON, if `{DEBUG_HEADER}` asked for it.",
    **{
        f"x-ratelimit-{what}-{of}": f"The key's {of} of a minute: {says}."
        for what, says in {
            "limit": "all",
            "remaining": "what is left",
            "reset": "the time until all are there",
        }.items()
        for of in ("requests", "tokens")
    },
}
"""What responses may carry beside their bodies."""
RATE_LIMITS = tuple(name for name in HEADERS if name.startswith("x-ratelimit-"))
OF_STATUS = {
    "401": ("www-authenticate",),
    "405": ("allow",),
    "429": ("retry-after",),
    "503": ("retry-after",),
}
OF_TAG = {
    "rag": ("x-tiffin-tier", "x-tiffin-cost-usd", DECISION_HEADER),
    "openai": (
        "x-tiffin-tier",
        "x-tiffin-cost-usd",
        "x-tiffin-degraded",
        "openai-processing-ms",
        DECISION_HEADER,
    ),
    "corpora": ("x-tiffin-degraded",),
    "embeddings": (TRUNCATED_HEADER,),
    "rerank": (TRUNCATED_HEADER,),
}
"""The headers of an answer, by the tag of its route."""

BENTOML = {
    "/metrics": ("text/plain", "Metrics for Prometheus: BentoML's and those of Tiffin."),
    "/schema.json": ("application/json", "The methods that BentoML's clients call."),
    "/docs.json": ("application/json", "BentoML's own description of those methods."),
}

EVENT = {
    "type": "object",
    "description": "One server-sent event: its data is JSON, or `[DONE]` at the end.",
    "required": ["data"],
    "properties": {"data": {"type": "string"}},
}

READINESS = {
    "type": "object",
    "required": ["status", "services"],
    "properties": {
        "status": {"type": "string"},
        "services": {"type": "object", "additionalProperties": {"type": "string"}},
        "corpora": {"type": "string"},
        "store": {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
    },
}

router = APIRouter(include_in_schema=False)


@router.get(PAGE_DOCUMENT)
async def page_document(http: Request) -> JSONResponse:
    """`/openapi.json` without the other names of routes, for people."""
    document: dict[str, Any] = http.app.openapi()
    paths = {path: item for path, item in document["paths"].items() if path not in ALIASES}
    return JSONResponse({**document, "servers": [{"url": ".."}], "paths": paths})


@router.get("/docs", response_class=HTMLResponse)
async def docs() -> HTMLResponse:
    """The interactive page. Its addresses are relative, for a proxy that adds a prefix."""
    assets = ASSETS.lstrip("/")
    return get_swagger_ui_html(
        openapi_url=PAGE_DOCUMENT.lstrip("/"),
        title="Tiffin",
        swagger_js_url=f"{assets}/swagger-ui-bundle.js",
        swagger_css_url=f"{assets}/swagger-ui.css",
        swagger_favicon_url=f"{assets}/favicon.png",
    )


def install(app: FastAPI) -> None:
    """Serve the page and the document of an app that has all its routes."""
    app.include_router(router)
    app.mount(ASSETS, InOurShape(StaticFiles(directory=str(files("fastapi_offline") / "static"))))
    document: dict[str, Any] = {}

    def describe() -> dict[str, Any]:
        if document:
            return document
        gateway: Gateway | None = getattr(app.state, "gateway", None)
        if gateway is None:  # described anew once it is known which models are served
            return _describe(app)
        document.update(_describe(app))
        fill_in(document, gateway.settings)
        return document

    app.openapi = describe  # type: ignore[method-assign]


def _describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    for path, (media_type, summary) in BENTOML.items():
        answer = {"description": "OK", "content": {media_type: {}}}
        operation = {"tags": ["bentoml"], "summary": summary, "responses": {"200": answer}}
        document["paths"].setdefault(path, {})["get"] = operation
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    error = ErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(error.pop("$defs"), ErrorBody=error)
    document["components"]["parameters"] = {name: _parameter(name) for name in SENT}
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete(path, operation)
    return document


def _parameter(name: str) -> dict[str, Any]:
    description, schema = SENT[name]
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Add to one operation what FastAPI does not know about."""
    read = (REQUEST_ID_HEADER,) if path in BENTOML else SENT
    names_something = "{" in path or "parameters" in operation
    parameters = [{"$ref": f"#/components/parameters/{name}"} for name in read]
    operation["parameters"] = operation.get("parameters", []) + parameters
    if description := operation.get("description"):
        operation["summary"] = description.partition("\n")[0]
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's, in a shape that is never sent
    statuses: tuple[str, ...] = WITHOUT_BODY
    if path in OPEN_PATHS:
        statuses = PROBE
    elif "requestBody" in operation:
        statuses = tuple(ERRORS)
    elif names_something:
        statuses = ("404", *WITHOUT_BODY)
    for answer in responses.values():
        if EVENTS in answer.get("content", {}):
            answer["content"][EVENTS]["schema"] = EVENT
    schema = {"$ref": "#/components/schemas/ErrorBody"}
    for status in statuses:
        failure: dict[str, Any] = {
            "description": ERRORS[status],
            "content": {"application/json": {"schema": schema}},
        }
        responses.setdefault(status, failure)
    if path in {"/readyz", "/health"}:
        content = {"application/json": {"schema": READINESS}}
        responses["200"] = {"description": "Every service is ready.", "content": content}
        responses["503"] = {"description": "A service is not ready.", "content": content}
    _add_headers(path, operation)


def _add_headers(path: str, operation: dict[str, Any]) -> None:
    """Say what the responses of one operation carry beside their bodies."""
    of_answer = OF_TAG.get(operation["tags"][0], ())
    of_key = () if path in OPEN_PATHS else RATE_LIMITS
    for status, response in operation["responses"].items():
        own = of_answer if status == "200" else OF_STATUS.get(status, ())
        response["headers"] = {
            name: {"description": HEADERS[name], "schema": {"type": "string"}}
            for name in ("x-request-id", *own, *of_key)
        }
