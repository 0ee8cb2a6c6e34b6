"""A shared cache that is not well: clients notice nothing but that answers are computed again."""

import statistics
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from tests.api.test_cache import CHAT, CHATS, post
from tests.support.redis import Server, running_redis, wait_for_redis
from tests.support.services import Services, entry
from tiffin.cache.redis import PREFIX
from tiffin.config.settings import Settings


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server, None, None]:
    with running_redis(tmp_path) as running:
        yield running


@pytest.fixture
def shared(settings: Settings, server: Server) -> Settings:
    return settings.model_copy(
        update={"cache": settings.cache.model_copy(update={"redis": server.url})}
    )


async def layer(client: httpx.AsyncClient, number: int = 0) -> str:
    body = {**CHAT, "max_tokens": number + 1}
    return (await post(client, CHATS, body)).headers["x-tiffin-cache"]


async def test_replicas_give_each_others_answers_again(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_redis(monkeypatch)
    one, other = Services(), Services()
    async with entry(one, shared) as client:
        assert await layer(client) == "miss"
    async with entry(other, shared) as client:
        assert await layer(client) == "exact"
    assert other.calls == []


async def test_a_server_that_is_gone_costs_no_answer_and_soon_no_time(
    shared: Settings, server: Server, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_redis(monkeypatch)
    async with entry(services, shared) as client:
        assert [await layer(client) for _ in range(2)] == ["miss", "exact"]
        server.stop()
        spans = []
        for number in range(40):
            began = time.perf_counter()
            assert await layer(client, number) == "miss"
            spans.append(time.perf_counter() - began)
    print(f"p50 {statistics.median(spans) * 1000:.1f} ms, slowest {max(spans) * 1000:.0f} ms")
    assert len(services.calls) == 41


@pytest.mark.slow
async def test_a_mute_server_costs_no_answer(
    shared: Settings, server: Server, services: Services
) -> None:
    async with entry(services, shared) as client:
        await layer(client)
        with server.frozen():
            assert {await layer(client, number) for number in range(20)} == {"miss"}


@pytest.mark.parametrize("broken", [b"", b"\x00\xff", b"\x81\xa7version\xcd\x03\xe7"])
async def test_a_broken_entry_is_a_miss_and_replaced(
    shared: Settings,
    server: Server,
    services: Services,
    broken: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait_for_redis(monkeypatch)
    raw: Redis = Redis.from_url(server.url)
    async with entry(services, shared) as client:
        await layer(client)
        (key,) = [key async for key in raw.scan_iter(f"{PREFIX}*chat:*")]
        await raw.set(key, broken)
        assert [await layer(client) for _ in range(2)] == ["miss", "exact"]
    await raw.aclose()
