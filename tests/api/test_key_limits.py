"""What a key may do: until when, which models and tiers, and for how much money."""

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_access import bearer
from tests.support.services import Services, entry
from tiffin.config.routing import PriceSettings
from tiffin.config.settings import Settings, load_settings
from tiffin.traffic.key_file import KeyFile
from tiffin.traffic.keys import KeyRing, Purse

TURNS = [{"role": "user", "content": "hi"}]
USD_PER_MTOK = 1000.0
"""The large tier's price. An answer of the stand-ins has 7 + 6 tokens, so it costs 0.013 USD."""
ANSWER_USD = 0.013


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def guarded(tmp_path: Path) -> Settings:
    settings = load_settings(profile="laptop", access={"keys_file": tmp_path / "keys.json"})
    price = PriceSettings(input_usd_per_mtok=USD_PER_MTOK, output_usd_per_mtok=USD_PER_MTOK)
    large = settings.tiers["small"].model_copy(update={"price": price})
    return settings.model_copy(update={"tiers": {**settings.tiers, "large": large}})


@pytest.fixture
async def client(services: Services, guarded: Settings) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with entry(services, guarded) as client:
        yield client


async def chat(client: httpx.AsyncClient, key: str, model: str = "large") -> httpx.Response:
    body = {"model": model, "messages": TURNS, "max_tokens": 6}
    return await client.post("/v1/chat/completions", json=body, headers=bearer(key))


@pytest.mark.parametrize("header", ["api-key", "x-api-key"])
async def test_a_key_may_come_in_the_header_of_other_apis(
    client: httpx.AsyncClient, file: KeyFile, header: str
) -> None:
    key = file.create("app")
    assert (await client.get("/v1/models", headers={header: key})).status_code == 200
    assert (await client.get("/v1/models", headers={header: "other"})).status_code == 401


async def test_a_key_ends_on_its_day_and_the_refusal_says_which(
    client: httpx.AsyncClient, file: KeyFile
) -> None:
    valid = file.create("valid", expires=int(time.time()) + 60)
    ended = file.create("ended", expires=1_767_225_600)
    assert (await client.get("/v1/models", headers=bearer(valid))).status_code == 200
    refused = await client.get("/v1/models", headers=bearer(ended))
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (401, "expired_api_key")
    assert "2026-01-01 00:00 UTC" in error["message"]


def test_a_rotated_key_opens_with_both_secrets_for_a_while(file: KeyFile) -> None:
    now = time.time()
    ring = KeyRing(file.path, now=lambda: now)
    old = file.create("app", requests_per_minute=5)
    new = file.rotate("app", overlap_s=3600)
    for secret in (old, new):
        found = ring.find(secret)
        assert found is not None
        assert (found.name, found.requests_per_minute) == ("app", 5)
    now += 3601
    assert ring.find(old) is None
    assert ring.find(new) is not None


async def test_a_key_of_some_models_gets_no_other(client: httpx.AsyncClient, file: KeyFile) -> None:
    key = file.create("app", models=["small"])
    assert (await chat(client, key, "small")).status_code == 200
    refused = await chat(client, key, "large")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (403, "model_not_allowed")
    assert error["message"] == "model: this key may use small, not 'large'"
    question = {"query": "how tall", "documents": ["It is 324 m tall."]}
    asked = await client.post("/rag_query", json=question, headers=bearer(key))
    assert asked.status_code == 403, "auto is not among them"
    questions = [{"type": "predicate", "name": "q", "instructions": "Is it tall?"}]
    body = {"model": "large", "input": "324 m", "questions": questions}
    decided = await client.post("/v1/decisions", json=body, headers=bearer(key))
    assert decided.status_code == 403


async def test_a_policy_chooses_among_the_tiers_of_the_key(
    client: httpx.AsyncClient, file: KeyFile
) -> None:
    key, other = file.create("app", tiers=["small"]), file.create("other")
    assert (await chat(client, other, "auto-quality")).headers["x-tiffin-tier"] == "large"
    assert (await chat(client, key, "auto-quality")).headers["x-tiffin-tier"] == "small"
    assert (await chat(client, key, "large")).status_code == 403


@pytest.mark.parametrize(
    ("whose", "period", "again"),
    [("key", "day", "today"), ("key", "month", "this month"), ("tenant", "day", "today")],
)
async def test_a_budget_that_is_spent_refuses_and_says_what_was_spent_and_when_it_starts_again(
    client: httpx.AsyncClient, file: KeyFile, whose: str, period: str, again: str
) -> None:
    limit: Any = {f"{period}_usd": 2.3 * ANSWER_USD}
    key = file.create("app", tenant="acme", **(limit if whose == "key" else {}))
    if whose == "tenant":
        file.allow("acme", Purse(**limit))
    answers = [await chat(client, key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    error = answers[2].json()["error"]
    assert error["type"] == "insufficient_quota"
    spent = f"0.026000 of the {whose}'s budget for {again}, 0.0299 USD, are spent"
    assert spent in error["message"]
    assert "00:00 UTC" in error["message"]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 31 * 86_400
    assert (await chat(client, key, "small")).status_code == 200, "a free tier stays open"


async def test_two_keys_of_a_tenant_spend_from_one_budget(
    client: httpx.AsyncClient, file: KeyFile
) -> None:
    keys = [file.create(name, tenant="acme") for name in ("a", "b")]
    file.allow("acme", Purse(month_usd=1.3 * ANSWER_USD))
    assert [(await chat(client, key)).status_code for key in keys] == [200, 429]


async def test_a_limit_says_how_much_is_used(client: httpx.AsyncClient, file: KeyFile) -> None:
    key = file.create("app", requests_per_minute=1)
    await chat(client, key)
    message = (await chat(client, key)).json()["error"]["message"]
    assert message.startswith("requests: this key may use 1 requests a minute, and 1 are used;")


def test_a_file_of_the_version_before_is_read_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(
        """{"keys": [{"id": "0a1b2c3d", "name": "web", "tenant": "acme",
        "salt": "5e884898da28047151d0e56f8dc62927",
        "digest": "7b3a1f0a3d1a83cd5a2a1c1f9a33c1de1a5a7a2f1f6b0b8f7a4b5d7e9c0a1b2c",
        "created": 1764374400, "requests_per_minute": 60, "tokens_per_minute": null}]}"""
    )
    file = KeyFile(path)
    file.create("new", day_usd=1.0)
    old, new = file.read()
    assert (old.id, old.name, old.requests_per_minute, old.expires) == ("0a1b2c3d", "web", 60, None)
    assert new.day_usd == 1.0
