"""What is refused before anything is parsed, and the origins that may call."""

import httpx
import pytest

from tests.support.services import Services, entry
from tiffin.api.limits import is_nested_deeper
from tiffin.ops.settings import Settings, load_settings


async def test_headers_over_the_limit_are_refused(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        response = await client.get("/v1/models", headers={"x-long": "x" * 33_000})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (431, "headers")
    assert "the limit is 32,768" in error["message"]


async def test_deep_json_is_refused_before_it_is_parsed(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query",
            content=b'{"query": ' + b"[" * 100_000,
            headers={"content-type": "application/json"},
        )
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "too_deep")
    assert "32 levels" in error["message"]


@pytest.mark.parametrize(
    ("body", "deeper"),
    [
        (b"[[[]]]", False),
        (b"[[[[]]]]", True),
        (b'["[[[[[[", "\\"[[[[", {}]', False),
        (b'[{"a": [{}]}]', True),
        (b"[[]]" * 100, False),
        (b'"[[[[[[', False),
    ],
)
def test_brackets_in_strings_do_not_count(body: bytes, deeper: bool) -> None:
    assert is_nested_deeper(body, 3) is deeper


async def _preflight(client: httpx.AsyncClient, origin: str) -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    return await client.options("/v1/embeddings", headers=headers)


async def test_no_other_origin_may_call(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        response = await _preflight(client, "https://app.example")
    assert "access-control-allow-origin" not in response.headers


async def test_an_origin_that_is_given_may_call(services: Services) -> None:
    opened = load_settings(profile="laptop", access={"cors_origins": ["https://app.example"]})
    async with entry(services, opened) as client:
        allowed = await _preflight(client, "https://app.example")
        other = await _preflight(client, "https://other.example")
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in other.headers
