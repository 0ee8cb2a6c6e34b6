"""What is refused before anything is parsed, and the origins that may call."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message

from models.errors import AnswerTooLong
from tests.support.services import Services, entry, with_door
from tests.support.soon import SOON_S
from tiffin.api.bodies import PARSER_LEVELS
from tiffin.config.settings import Settings, load_settings
from tiffin.core.errors import TOO_LONG, ContextExceeded
from tiffin.core.model_errors import from_model_error


async def test_headers_over_the_limit_are_refused(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        response = await client.get("/v1/models", headers={"x-long": "x" * 33_000})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (431, "headers")
    assert "the limit is 32,768" in error["message"]
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "identity, br", "zstd"])
async def test_a_compressed_body_is_refused_unread(
    services: Services, settings: Settings, encoding: str
) -> None:
    headers = [("content-encoding", "identity"), ("content-encoding", encoding)]
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", content=gzip.compress(b"{}"), headers=headers)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (415, "content-encoding")
    assert encoding.lower().split(", ")[-1] in error["message"]
    assert response.headers["accept-encoding"] == "identity"


async def test_an_encoding_that_changes_nothing_is_taken(
    services: Services, settings: Settings
) -> None:
    asked = {"query": "how tall?", "documents": ["The tower is 324 metres tall."]}
    async with entry(services, settings) as client:
        headers = {"content-encoding": "identity"}
        response = await client.post("/rag_query", json=asked, headers=headers)
    assert response.status_code == 200


async def test_deep_json_is_refused(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query",
            content=b'{"query": ' + b"[" * 100_000,
            headers={"content-type": "application/json"},
        )
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "too_deep")
    assert f"{PARSER_LEVELS} levels" in error["message"]


@pytest.mark.parametrize(("levels", "code"), [(201, "invalid_json"), (202, "too_deep")])
async def test_the_parser_reads_as_deep_as_is_said(
    services: Services, settings: Settings, levels: int, code: str
) -> None:
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query",
            content=b"[" * levels + b"]" * levels,
            headers={"content-type": "application/json"},
        )
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


def _schema(levels: int) -> dict[str, Any]:
    """A schema of so many objects and arrays inside one another."""
    schema: Any = {}
    for level in range(levels - 1):
        schema = [schema] if level % 2 else {"not": schema}
    return {"allOf": schema} if isinstance(schema, list) else schema


@pytest.mark.parametrize("levels", [32, 33])
@pytest.mark.parametrize(
    ("path", "param", "fields"),
    [
        (
            "/v1/chat/completions",
            "response_format.json_schema.schema",
            lambda schema: {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": schema},
                }
            },
        ),
        (
            "/v1/chat/completions",
            "tools[0].function.parameters",
            lambda schema: {
                "tools": [{"type": "function", "function": {"name": "a", "parameters": schema}}]
            },
        ),
        (
            "/v1/responses",
            "text.format.schema",
            lambda schema: {
                "text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}
            },
        ),
        (
            "/v1/responses",
            "tools[0].parameters",
            lambda schema: {"tools": [{"type": "function", "name": "a", "parameters": schema}]},
        ),
    ],
)
async def test_a_deep_schema_is_refused_before_an_engine_reads_it(
    services: Services,
    settings: Settings,
    path: str,
    param: str,
    fields: Callable[[dict[str, Any]], dict[str, Any]],
    levels: int,
) -> None:
    turns = [{"role": "user", "content": "Where?"}]
    asked = {"messages": turns} if path.endswith("completions") else {"input": "Where?"}
    async with entry(services, settings) as client:
        response = await client.post(
            path, json={"model": "small", **asked, **fields(_schema(levels))}
        )
    if levels <= settings.limits.nesting:
        assert response.status_code == 200, response.text
        return
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, "too_deep")
    assert error["message"] == f"{param}: nested deeper than the limit of 32 levels"
    assert services.calls == []


LONG = "x" * 1_000_001


@pytest.mark.parametrize(
    ("path", "field", "value", "says"),
    [
        ("/v1/chat/completions", "messages", ["x"] * 2049, "2,049 messages, the limit is 2,048"),
        ("/v1/chat/completions", "messages", [LONG], "1,000,001 characters"),
        ("/v1/responses", "input", ["x"] * 2049, "2,049 messages"),
        ("/v1/responses", "input", LONG, "1,000,001 characters"),
        ("/v1/completions", "prompt", ["x", LONG], "1,000,001 characters"),
        ("/v1/completions", "prompt", [1] * 1_000_001, "1,000,001 tokens"),
    ],
)
async def test_more_than_a_model_can_read_is_refused_before_it_counts_the_tokens(
    services: Services, settings: Settings, path: str, field: str, value: Any, says: str
) -> None:
    """A chat template takes minutes over 100,000 turns, and no one can stop it."""
    if field != "prompt" and isinstance(value, list):
        value = [{"role": "user", "content": text} for text in value]
    async with entry(services, settings) as client:
        response = await client.post(path, json={"model": "small", field: value})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (422, field)
    assert says in error["message"]
    assert services.calls == []


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/v1/chat/completions", "messages", [{"role": "user", "content": "how tall?"}]),
        ("/v1/responses", "input", "how tall?"),
        ("/v1/completions", "prompt", "how tall?"),
    ],
)
async def test_what_is_too_long_for_the_model_is_named(
    services: Services, settings: Settings, path: str, field: str, value: Any
) -> None:
    services.fails = {"small": ContextExceeded("9 tokens, the limit is 8", code=TOO_LONG)}
    async with entry(services, settings) as client:
        error = (await client.post(path, json={"model": "small", field: value})).json()["error"]
    assert (error["param"], error["code"]) == (field, "context_length_exceeded")
    assert error["message"] == f"{field}: 9 tokens, the limit is 8"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/responses", {"input": "a"}),
        ("/v1/completions", {"prompt": "a"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_too_long_for_the_model_blames_its_own_field(
    services: Services, settings: Settings, path: str, fields: dict[str, Any], stream: bool
) -> None:
    services.fails = {"small": from_model_error(AnswerTooLong(100_000, 33, 4096))}
    limits = ["max_output_tokens"] if "input" in fields else ["max_tokens"]
    limits += ["max_completion_tokens"] if "messages" in fields else []
    async with entry(services, settings) as client:
        for limit in limits:
            body = {"model": "small", limit: 100_000, "stream": stream, **fields}
            answer = await client.post(path, json=body)
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (400, limit)
            assert error["message"] == (
                f"{limit}: 100000 is too large: this model's maximum context length is 4096 tokens,"
                " and the input takes 33; ask for at most 4063"
            )
            assert error["code"] == "context_length_exceeded"


async def test_a_second_content_type_hides_nothing(services: Services, settings: Settings) -> None:
    """The routes go by the first."""
    kinds = [("content-type", "application/json"), ("content-type", "text/plain")]
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", content=b"[" * 202, headers=kinds)
    assert response.json()["error"]["code"] == "too_deep"


@pytest.mark.parametrize("brackets", ["[" * 500, '"[' * 500, "\\{" * 500])
async def test_brackets_in_strings_do_not_count(
    services: Services, settings: Settings, brackets: str
) -> None:
    asked = {"query": "how tall?", "documents": [f"The tower is {brackets} metres tall."]}
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json=asked)
    assert response.status_code == 200, response.text


async def test_a_full_door_refuses_every_kind_of_work_with_its_body_unread(
    services: Services, settings: Settings
) -> None:
    full = with_door(settings, 1, max_waiting=0)
    services.delays_s = {"embed": 0.5}
    async with entry(services, full) as client:
        document = (await client.get("/openapi.json")).json()
        paths = [path for path, item in document["paths"].items() if "post" in item]
        question = {"query": "Where?", "documents": ["Here."]}
        holds = asyncio.create_task(client.post("/rag_query", json=question))
        await asyncio.sleep(0.2)
        refusals = {path: await _without_body(services.front, path) for path in paths}
        assert (await holds).status_code == 200
    assert "/v1/chat/completions" in paths
    assert refusals == dict.fromkeys(paths, (503, "1"))


async def test_a_full_stage_refuses_by_the_model_that_is_named(
    services: Services, settings: Settings
) -> None:
    full = with_door(settings, 2, max_waiting=0)
    services.delays_s = {"large": 60}
    asked = {"messages": [{"role": "user", "content": "Where?"}]}
    async with entry(services, full) as client:
        path = "/v1/chat/completions"
        hangs = {"model": "large", **asked}
        holds = [asyncio.create_task(client.post(path, json=hangs)) for _ in range(2)]
        async with asyncio.timeout(5):
            while services.calls.count("large") < 2:
                await asyncio.sleep(0.01)
        large = await client.post(path, json=hangs)
        small = await client.post(path, json={"model": "small", **asked})
        wrong = await client.post(path, json={"model": "large", "messages": "not a list"})
        for task in holds:
            task.cancel()
        await asyncio.gather(*holds, return_exceptions=True)
    assert (large.status_code, large.json()["error"]["code"]) == (503, "overloaded")
    assert large.headers["retry-after"]
    assert services.calls.count("large") == 2
    assert small.status_code == 200
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "messages")


async def _without_body(app: ASGIApp | None, path: str) -> tuple[int, str]:
    """The status and Retry-After that a POST gets whose body never comes."""
    start = asyncio.get_running_loop().create_future()
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"1000")],
    }

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.set_result(message)

    assert app is not None
    async with asyncio.timeout(SOON_S):
        await app(scope, receive, send)
    message: Message = start.result()
    return message["status"], dict(message["headers"]).get(b"retry-after", b"").decode()


async def _preflight(
    client: httpx.AsyncClient, origin: str, asked: dict[str, str] | None = None
) -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": "POST", **(asked or {})}
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
        asked = {"access-control-request-private-network": "true"}
        private = await _preflight(client, "https://app.example", asked)
        origin = {"origin": "https://app.example"}
        long = await client.get("/v1/models", headers={**origin, "x-long": "x" * 33_000})
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in other.headers
    assert other.status_code == 400
    assert other.text == "Disallowed CORS origin"
    assert private.status_code == 200, "a page of the internet asks a server of the local network"
    assert private.headers["access-control-allow-private-network"] == "true"
    assert long.status_code == 431
    assert "access-control-allow-origin" in long.headers, "or its page could not read why"
