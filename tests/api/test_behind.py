"""What BentoML answers on the entry service looks like ours."""

from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.support.serving import served
from tiffin.api.middleware.behind import InOurShape


async def broken(_: Request) -> Response:
    return PlainTextResponse("Traceback", 500)


async def metrics(_: Request) -> Response:
    return PlainTextResponse("a 1")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Of an app that answers as BentoML's does."""
    (tmp_path / "page.css").write_text("p {}")
    static = Mount("/static_content", StaticFiles(directory=tmp_path))
    routes = [static, Route("/broken", broken), Route("/metrics", metrics)]
    async with served(InOurShape(Starlette(routes=routes))) as url:
        transport = httpx.AsyncHTTPTransport(uds=url.removeprefix("file://"))
        async with httpx.AsyncClient(transport=transport, base_url="http://tiffin") as client:
            yield client


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "says"),
    [
        ("GET", "/static_content/nope", {}, 404, "no such file: '/static_content/nope'"),
        ("GET", "/static_content/page.css", {"range": "bytes=99-"}, 400, "range not satis"),
        ("GET", "/broken", {}, 500, "log has it"),
        ("HEAD", "/static_content/nope", {}, 404, ""),
    ],
)
async def test_a_failure_is_in_our_shape(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    says: str,
) -> None:
    response = await client.request(method, path, headers={**headers, "x-request-id": "mine"})
    assert (response.status_code, response.headers["x-request-id"]) == (status, "mine")
    if method != "HEAD":
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert says in error["message"]


async def test_an_answer_passes_with_the_id_of_its_request(client: httpx.AsyncClient) -> None:
    response = await client.get("/metrics", headers={"x-request-id": "mine"})
    assert (response.text, response.headers["x-request-id"]) == ("a 1", "mine")
