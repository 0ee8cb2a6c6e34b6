"""Bad input gets a 4xx that names the field and the limit, in one shape, before any model runs."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tests.support.services import Services, entry
from tiffin.api.app import is_ours
from tiffin.api.schemas.chat import ChatRequest
from tiffin.api.schemas.completions import CompletionRequest
from tiffin.api.schemas.embeddings import EmbedBody, EmbeddingsRequest
from tiffin.api.schemas.rerank import RerankBody, ScoreBody, TeiRerankBody
from tiffin.api.schemas.responses import ResponsesRequest
from tiffin.config.settings import Settings
from tiffin.core.values import RagRequest

GOOD: dict[str, Any] = {"query": "how tall?", "documents": ["The tower is 324 metres tall."]}


@pytest.mark.parametrize(
    ("change", "status", "param", "says"),
    [
        ({"query": ""}, 400, "query", "at least 1 character"),
        ({"query": 5}, 400, "query", "valid string"),
        ({"query": "x" * 8001}, 422, "query", "8,001 characters, the limit is 8,000"),
        ({"documents": []}, 400, "documents", "or name a corpus"),
        ({"documents": ["  ", "\n", ""]}, 400, "documents", "white space"),
        ({"documents": "text"}, 400, "documents", "valid array"),
        ({"documents": [5]}, 400, "documents[0]", "valid"),
        ({"documents": ["ok", {"txt": "x"}]}, 400, "documents[1].text", "required"),
        ({"documents": ["x"] * 10_000}, 422, "documents", "10,000 documents, the limit is 1,000"),
        ({"documents": ["ok", "x" * 10_000_000]}, 422, "documents[1]", "the limit is 200,000"),
        ({"top_k": 0}, 400, "top_k", "greater than or equal to 1"),
        ({"top_n": 21}, 400, "top_n", "less than or equal to 20"),
        ({"max_tokens": 10**9}, 400, "max_tokens", "less than or equal to 4096"),
        ({"temperature": -1}, 400, "temperature", "greater than or equal to 0"),
        ({"stream": "maybe"}, 400, "stream", "boolean"),
        ({"model": "huge"}, 404, "model", "auto-quality, small, large"),
        ({"colour": "red"}, 400, "colour", "not permitted"),
    ],
)
async def test_a_bad_field_is_named(
    services: Services,
    settings: Settings,
    change: dict[str, Any],
    status: int,
    param: str,
    says: str,
) -> None:
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json={**GOOD, **change})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param)
    assert says in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert services.calls == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"store": True}, "store: input should be false"),
        ({"audio": {}}, "audio: input should be null, or left out"),
        ({"colour": "red"}, "colour: extra inputs are not permitted; leave the field out"),
    ],
)
async def test_an_error_speaks_json_and_says_what_to_do(
    services: Services, settings: Settings, change: dict[str, Any], says: str
) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "a"}], **change}
    async with entry(services, settings) as client:
        error = (await client.post("/v1/chat/completions", json=body)).json()["error"]
    assert error["message"].startswith(says)


@pytest.mark.parametrize(
    "message",
    [
        {"id": "msg_1"},
        {"content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "reasoning_content": "Hm.", "reasoning": None},
    ],
)
async def test_what_a_message_says_beside_its_text_changes_nothing(
    services: Services, settings: Settings, message: dict[str, Any]
) -> None:
    """Editors and gateways send these."""
    body = {"model": "small", "messages": [{"role": "user", "content": "a", **message}]}
    async with entry(services, settings) as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert [turn.content for turn in services.prompts[0].messages] == ["a"]


@pytest.mark.parametrize(
    ("content", "content_type", "status", "says"),
    [
        (b'{"query": "x", ', "application/json", 400, "not valid JSON"),
        (b"\xff\xfe", "application/json", 400, "body"),
        (b"[1, 2]", "application/json", 400, "body"),
        (b"", "application/json", 400, "body"),
        (json.dumps(GOOD).encode(), "text/plain", 400, "application/json"),
        (json.dumps(GOOD).encode(), "text/json", 400, "application/json"),
        (json.dumps(GOOD).encode(), "application/json-seq", 400, "application/json"),
        (b"[" * 200_000, "application/json", 400, "body"),
        (b'{"top_k": ' + b"9" * 5000 + b"}", "application/json", 400, "not valid JSON"),
        (b'{"query": "\\ud83d?"}', "application/json", 400, "end of hex escape"),
        (b'{"query": "\\\\\\ud83d\\\\"}', "application/json", 400, "end of hex escape"),
        (
            b'{"query": "\xed\xa0\xbd"}',
            "application/json",
            400,
            "invalid unicode code point",
        ),
        (json.dumps(GOOD).encode("utf-16"), "application/json", 400, "UTF-8"),
        (json.dumps(GOOD).encode("utf-16-le"), "application/json", 400, "UTF-8"),
        (b'{"query": "\0"}', "application/json", 400, "control character"),
        (b'{"query": NaN}', "application/json", 400, "query"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    services: Services,
    settings: Settings,
    content: bytes,
    content_type: str,
    status: int,
    says: str,
) -> None:
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query", content=content, headers={"content-type": content_type}
        )
    assert response.status_code == status
    assert says in response.json()["error"]["message"]
    assert services.calls == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (RagRequest, {"query": "q", "documents": [5] * 1000}),
        (RerankBody, {"query": "q", "documents": [5] * 1000}),
        (TeiRerankBody, {"query": "q", "texts": [5] * 1000}),
        (ScoreBody, {"text_1": "q", "text_2": [5] * 1000}),
        (EmbeddingsRequest, {"model": "m", "input": ["a"] + [{}] * 1000}),
        (EmbedBody, {"inputs": [[{}] * 1000] * 1000}),
        (ChatRequest, {"model": "m", "messages": [5] * 1000}),
        (CompletionRequest, {"model": "m", "prompt": [{}] * 1000}),
        (ResponsesRequest, {"model": "m", "input": [{"type": "?"}] * 1000}),
    ],
)
def test_the_check_of_a_list_ends_at_the_first_wrong_item(
    body: type[BaseModel], fields: dict[str, Any]
) -> None:
    """To describe every one of the millions that fit into a body takes gigabytes."""
    with pytest.raises(ValidationError) as raised:
        body.model_validate_json(json.dumps(fields))
    assert raised.value.error_count() <= 4


async def test_very_many_wrong_fields_are_only_counted(
    services: Services, settings: Settings
) -> None:
    unknown = {f"field {number}": number for number in range(2000)}
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json={**GOOD, **unknown})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "too_many_errors")
    assert "2,000 fields" in error["message"]


@pytest.mark.parametrize(
    "content_type", ["Application/JSON; charset=utf-8", "application/vnd.tiffin+json"]
)
async def test_json_may_be_announced_in_other_words(
    services: Services, settings: Settings, content_type: str
) -> None:
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query",
            content=json.dumps(GOOD).encode(),
            headers={"content-type": content_type},
        )
    assert response.status_code == 200, response.text


async def test_a_byte_order_mark_is_passed_over(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query",
            content=json.dumps(GOOD).encode("utf-8-sig"),
            headers={"content-type": "application/json"},
        )
    assert response.status_code == 200, response.text


async def test_every_character_may_be_escaped(services: Services, settings: Settings) -> None:
    query = 'a lake \\ud83d \\ a nul \0 \U0001f30a "'
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query",
            content=json.dumps({**GOOD, "query": query}, ensure_ascii=True),
            headers={"content-type": "application/json"},
        )
    assert response.status_code == 200, response.text
    assert query in services.prompts[0].messages[-1].content


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_so(
    services: Services, settings: Settings, declared: bool
) -> None:
    async def pieces() -> Any:
        for _ in range(20):
            yield b"x" * (1 << 20)

    content: Any = b"x" * (20 << 20) if declared else pieces()
    async with entry(services, settings) as client:
        headers = {"content-type": "application/json"}
        response = await client.post("/rag_query", content=content, headers=headers)
    assert response.status_code == 413
    assert "16,777,216 bytes" in response.json()["error"]["message"]


@pytest.mark.parametrize("value", ["0", "-5", "soon", "999999999", "9" * 5000])
async def test_a_bad_deadline_is_named(services: Services, settings: Settings, value: str) -> None:
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query", json=GOOD, headers={"x-request-timeout-ms": value}
        )
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-request-timeout-ms"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("POST", "/nothing", 404, "not_found_error"),
        ("GET", "/rag_query", 405, "invalid_request_error"),
    ],
)
async def test_a_wrong_route_or_method_answers_in_our_shape(
    services: Services, settings: Settings, method: str, path: str, status: int, kind: str
) -> None:
    async with entry(services, settings) as client:
        response = await client.request(method, path)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, kind)
    assert repr(path) in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/models", "GET, HEAD"),
        ("DELETE", "/v1/models/auto", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD, POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("POST", "/docs/assets/favicon.png", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    services: Services, settings: Settings, method: str, path: str, allowed: str
) -> None:
    async with entry(services, settings) as client:
        response = await client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)
    assert is_ours(method, path), "or BentoML would answer in its own shape"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version", "/v1/models", "/openapi.json"])
async def test_head_is_get_without_the_body(
    services: Services, settings: Settings, path: str
) -> None:
    async with entry(services, settings) as client:
        head, get = await client.head(path), await client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_an_error_does_not_send_all_back_that_was_sent(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        long = await client.post("/rag_query", json={**GOOD, "model": "x" * 100_000})
        field = await client.post("/rag_query", json={**GOOD, "y" * 100_000: 1})
    assert "auto-quality, small, large" in long.json()["error"]["message"]
    assert max(len(long.text), len(field.text)) < 10_000


async def test_what_no_one_expected_answers_in_our_shape_too(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tiffin.api.routes.rag.check_rag_request", broken)
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json=GOOD)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (500, "server_error")
    assert "Zero" not in response.text
