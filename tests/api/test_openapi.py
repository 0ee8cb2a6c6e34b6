"""The one document, and the page that works offline."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.services import Services, entry
from tiffin.api.examples import ALIASES, bodies
from tiffin.config.settings import Settings, load_settings

ROUTES = {
    *("/v1/embeddings", "/v1/rerank", "/rerank", "/v2/rerank", "/embed", "/score", "/v1/models"),
    *("/v1/rag", "/rag_query", "/livez", "/readyz", "/health", "/version", "/metrics"),
}

NOT_AN_ERROR = {("/readyz", "503"), ("/health", "503")}
"""They answer which services are ready, whatever the status."""


async def _document(services: Services, settings: Settings) -> dict[str, Any]:
    async with entry(services, settings) as client:
        document: dict[str, Any] = (await client.get("/openapi.json")).json()
        return document


def _post(path: str, document: dict[str, Any]) -> list[dict[str, str]]:
    parameters: list[dict[str, str]] = document["paths"][path]["post"]["parameters"]
    return parameters


async def test_the_document_names_every_route(services: Services, settings: Settings) -> None:
    document = await _document(services, settings)
    assert set(document["paths"]) >= ROUTES


async def test_every_failure_is_described_in_our_shape(
    services: Services, settings: Settings
) -> None:
    document = await _document(services, settings)
    assert "HTTPValidationError" not in document["components"]["schemas"]
    ours = {"$ref": "#/components/schemas/ErrorBody"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400" and (path, status) not in NOT_AN_ERROR:
                    assert response["content"]["application/json"]["schema"] == ours, path
    assert {"400", "401", "404", "413", "422", "429", "503", "504"} <= set(
        document["paths"]["/v1/embeddings"]["post"]["responses"]
    )


async def test_the_headers_of_responses_are_described(
    services: Services, settings: Settings
) -> None:
    asked = {"model": "small", "messages": [{"role": "user", "content": "how tall?"}]}
    async with entry(services, settings) as client:
        described = (await client.get("/openapi.json")).json()["paths"]
        chat = described["/v1/chat/completions"]["post"]["responses"]
        answers = [
            (await client.post("/v1/chat/completions", json=asked), chat),
            (await client.post("/v1/chat/completions", json={}), chat),
            (await client.get("/v1/chat/completions"), chat),
            (
                await client.get("/livez", headers={"x-tiffin-priority": "none"}),
                described["/livez"]["get"]["responses"],
            ),
        ]
    assert [answer.status_code for answer, _ in answers] == [200, 400, 405, 400]
    for answer, responses in answers:
        ours = set(answer.headers) - {"date", "content-type", "content-length", "server"}
        assert ours <= set(responses[str(answer.status_code)]["headers"])
    assert {"www-authenticate", "x-ratelimit-limit-tokens"} <= set(chat["401"]["headers"])
    assert "retry-after" in chat["429"]["headers"]


async def test_the_headers_that_are_read_are_described(
    services: Services, settings: Settings
) -> None:
    """And every one that can be wrong is refused where the document says so."""
    document = await _document(services, settings)
    parameters = document["components"]["parameters"]
    read = {reference["$ref"].split("/")[-1] for reference in _post("/v1/rag", document)}
    assert read == set(parameters)
    async with entry(services, settings) as client:
        for name, parameter in parameters.items():
            schema = parameter["schema"]
            wrong = str(schema["maximum"] + 1) if "maximum" in schema else "not one of these"
            strict = "maximum" in schema or "enum" in schema
            response = await client.get("/v1/models", headers={name: wrong})
            assert response.status_code == (400 if strict else 200), name


async def test_every_reference_leads_somewhere(services: Services, settings: Settings) -> None:
    document = await _document(services, settings)
    references = re.findall(r"#/components/(\w+)/([\w.-]+)", str(document))
    assert {kind for kind, _ in references} == {"schemas", "parameters"}
    for kind, name in references:
        assert name in document["components"][kind]


async def test_the_page_asks_for_nothing_from_elsewhere(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        page = await client.get("/docs")
        links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert links
        assert "http" not in "".join(links)
        for link in links:
            asset = await client.get(link)
            assert (asset.status_code, len(asset.content) > 1000) == (200, True), link


async def test_every_body_has_an_example_that_works_as_it_is(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        for path in bodies(settings):
            body = paths[path]["post"]["requestBody"]["content"]["application/json"]
            response = await client.post(path, json=body["example"])
            assert response.status_code == 200, (path, response.text)


async def test_the_page_shows_the_rag_route_first_and_no_other_names(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        shown = (await client.get("/docs/openapi.json")).json()["paths"]
        everything = (await client.get("/openapi.json")).json()["paths"]
    assert next(iter(shown)) == "/v1/rag"
    assert set(everything) - set(shown) == set(ALIASES)
    for path, operations in shown.items():
        for operation in operations.values():
            assert len(operation["summary"].split()) > 1, path


@pytest.mark.parametrize("keys", [True, False])
async def test_locks_are_shown_only_if_keys_are_asked_for(
    services: Services, tmp_path: Path, *, keys: bool
) -> None:
    access = {"keys_file": tmp_path / "keys.json"} if keys else {}
    async with entry(services, load_settings(profile="laptop", access=access)) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert ("security" in paths["/v1/rag"]["post"]) is keys
    assert "security" not in paths["/livez"]["get"]
