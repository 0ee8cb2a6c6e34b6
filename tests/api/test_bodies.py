"""How a route with a JSON body is called, and what becomes of what it raises."""

import json
from collections.abc import AsyncGenerator

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message

from tiffin.api import errors
from tiffin.api.bodies import JsonRoute
from tiffin.config.settings import Settings
from tiffin.core.errors import Overloaded

router = APIRouter(route_class=JsonRoute)


class Ask(BaseModel):
    what: str


async def _broken() -> AsyncGenerator[str, None]:
    yield "begun"
    raise KeyError("amid the answer")


@router.post("/ask")
async def ask(body: Ask, http: Request) -> Response:
    match body.what:
        case "place":
            route = http.scope["route"]
            assert http.scope["endpoint"] is ask
            assert route.matches(http.scope)[0] is Match.FULL
            place = [http.url.path, http.path_params, route.path, http.app is not None]
            return Response(json.dumps([*place, http.state.mark]))
        case "expected":
            raise Overloaded("full", retry_after_s=3)
        case "http":
            raise HTTPException(404)
        case "unexpected":
            raise KeyError("a mistake of ours")
        case "late":
            return StreamingResponse(_broken())
    return Response("fine")


@router.post("/named/{name}")
async def named(body: Ask, http: Request, name: str) -> Response:
    assert name == "it"
    return Response(f"{body.what} {http.path_params['name']}")


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    app = FastAPI()
    app.include_router(router)
    errors.install(app)
    app.state.limits = settings.limits
    return app


async def _exchange(
    app: ASGIApp, method: str, path: str, body: bytes | None, root_path: str = ""
) -> tuple[list[Message], str]:
    """What is sent, and the name of what is raised. Without a body, the client leaves amid it."""
    sent: list[Message] = []
    more = body is None
    asked: list[Message] = [{"type": "http.request", "body": body or b"", "more_body": more}]

    async def receive() -> Message:
        return asked.pop() if asked else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": method,
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"x-request-id", b"one")],
        "state": {"mark": "a mark"},
    }
    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001
        return sent, repr(error)
    return sent, ""


@pytest.mark.parametrize(
    ("method", "path", "body", "root_path", "status"),
    [
        ("POST", "/ask", b'{"what": "place"}', "", 200),
        ("POST", "/ask", b'{"what": "fine"}', "", 200),
        ("POST", "/ask", b'{"what": "expected"}', "", 503),
        ("POST", "/ask", b'{"what": "http"}', "", 404),
        ("POST", "/ask", b'{"what": "unexpected"}', "", 500),
        ("POST", "/ask", b'{"what": "late"}', "", 200),
        ("POST", "/ask", b'{"what": 5}', "", 400),
        ("POST", "/ask", b"{", "", 400),
        ("GET", "/ask", b"", "", 405),
        ("OPTIONS", "/ask", b"", "", 405),
        ("POST", "/ask/", b"{}", "", 307),
        ("POST", "/asked", b"{}", "", 404),
        ("POST", "/named/it", b'{"what": "is"}', "", 200),
        ("POST", "/under/ask", b'{"what": "place"}', "/under", 200),
        ("POST", "/ask", b'{"what": "place"}', "/under", 200),
    ],
)
async def test_a_route_with_a_body_is_a_route_like_any_other(
    app: FastAPI, method: str, path: str, body: bytes, root_path: str, status: int
) -> None:
    sent, _ = await _exchange(app, method, path, body, root_path)
    assert sent[0]["status"] == status


async def test_an_unexpected_error_is_answered_logged_and_raised(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    sent, raised = await _exchange(app, "POST", "/ask", b'{"what": "unexpected"}')
    assert json.loads(sent[1]["body"])["error"]["type"] == "server_error"
    assert raised == "KeyError('a mistake of ours')"
    assert [record.message for record in caplog.records] == ["unexpected error"]


async def test_an_error_amid_an_answer_is_raised_for_the_server(app: FastAPI) -> None:
    sent, raised = await _exchange(app, "POST", "/ask", b'{"what": "late"}')
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert raised == "KeyError('amid the answer')"


async def test_a_client_that_leaves_amid_its_body_is_no_failure(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    sent, raised = await _exchange(app, "POST", "/ask", None)
    assert (sent[0]["status"], raised, caplog.records) == (499, "", [])
