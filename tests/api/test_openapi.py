"""The one document, and the page that works offline."""

import re
from typing import Any

from tests.support.services import Services, entry
from tiffin.config.settings import Settings

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
