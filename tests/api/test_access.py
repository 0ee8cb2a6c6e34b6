"""Keys: who is let in, to what, how much, and until when."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from tests.support.services import Services, entry
from tiffin.api.middleware.access import KeyGuard
from tiffin.config.settings import Settings, load_settings
from tiffin.traffic.key_file import KeyFile

EMBED = {"model": "all-minilm-l6-v2", "input": "x"}


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def guarded(tmp_path: Path) -> Settings:
    return load_settings(profile="laptop", access={"keys_file": tmp_path / "keys.json"})


@pytest.fixture
async def client(services: Services, guarded: Settings) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with entry(services, guarded) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/ping", "/version"])
async def test_probes_need_no_key(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/schema.json", "/v1/playground"])
async def test_everything_else_needs_one(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (401, "authentication_error")
    assert set(error) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("how", ["wrong secret", "unknown id", "garbage", "basic"])
async def test_a_wrong_key_is_refused(
    client: httpx.AsyncClient, file: KeyFile, services: Services, how: str
) -> None:
    key = file.create("app")
    headers = {
        "wrong secret": bearer(key[:-4] + "AAAA"),
        "unknown id": bearer("tiffin-00000000" + key[15:]),
        "garbage": bearer("sk-live-0123456789"),
        "basic": {"authorization": f"Basic {key}"},
    }[how]
    response = await client.post("/v1/embeddings", json=EMBED, headers=headers)
    assert response.status_code == 401
    assert services.calls == []


async def test_a_missing_key_is_refused_before_the_body_is_read(tmp_path: Path) -> None:
    async def app(*_: object) -> None:
        raise AssertionError("the request was let in")

    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    guard = KeyGuard(app, keys_file=tmp_path / "keys.json")
    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": []}
    await guard(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_a_key_works_until_it_is_revoked(client: httpx.AsyncClient, file: KeyFile) -> None:
    key, other = file.create("app"), file.create("other")
    assert (await client.get("/v1/models", headers=bearer(key))).status_code == 200
    file.revoke("app")
    assert (await client.get("/v1/models", headers=bearer(key))).status_code == 401
    assert (await client.get("/v1/models", headers=bearer(other))).status_code == 200


async def test_a_damaged_file_lets_no_one_in(
    client: httpx.AsyncClient, file: KeyFile, guarded: Settings
) -> None:
    key = file.create("app")
    assert guarded.access.keys_file is not None
    guarded.access.keys_file.write_text("{")
    assert (await client.get("/v1/models", headers=bearer(key))).status_code == 503


async def test_the_request_limit_is_said_and_held(client: httpx.AsyncClient, file: KeyFile) -> None:
    key = file.create("app", requests_per_minute=2)
    answers = [await client.get("/v1/models", headers=bearer(key)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["1", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
    assert answers[0].headers["x-ratelimit-reset-requests"].endswith("s")
    assert answers[2].json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 31


async def test_tokens_are_counted_as_the_answer_says(
    client: httpx.AsyncClient, file: KeyFile
) -> None:
    """Ten words cost ten tokens here, whatever the size of the body had let expect."""
    key = file.create("app", tokens_per_minute=1000)
    body: dict[str, Any] = {**EMBED, "input": ["word"] * 10}
    await client.post("/v1/embeddings", json=body, headers=bearer(key))
    after = await client.get("/v1/models", headers=bearer(key))
    assert 990 <= int(after.headers["x-ratelimit-remaining-tokens"]) <= 991


async def test_the_token_limit_is_held(client: httpx.AsyncClient, file: KeyFile) -> None:
    key = file.create("app", tokens_per_minute=20)
    body: dict[str, Any] = {**EMBED, "input": ["w"] * 30}
    statuses = [
        (await client.post("/v1/embeddings", json=body, headers=bearer(key))).status_code
        for _ in range(2)
    ]
    assert statuses == [200, 429]


def test_the_file_holds_no_secret_and_is_private(file: KeyFile, tmp_path: Path) -> None:
    key = file.create("app", tenant="acme")
    path = tmp_path / "keys.json"
    assert key.split("-", 2)[2] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    (entry_,) = file.read()
    assert (entry_.name, entry_.tenant) == ("app", "acme")
