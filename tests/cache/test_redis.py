"""The store in a real server, and what happens when that is not well."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.cache.contract import ONE, StoreContract, keep
from tests.support.redis import PATIENT_S, Server, running_redis
from tiffin.cache import redis as module
from tiffin.cache.redis import RedisStore
from tiffin.cache.store import NOTHING

KEY = f"{ONE}rag:1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server, None, None]:
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def store(server: Server) -> AsyncGenerator[RedisStore, None]:
    store = RedisStore(server.url, timeout_s=PATIENT_S)
    raw: Redis = Redis.from_url(server.url)
    await raw.flushall()
    await raw.aclose()
    yield store
    await store.close()


class TestRedis(StoreContract):
    pass


async def test_replicas_share_answers_and_a_clear_reaches_all(
    server: Server, store: RedisStore
) -> None:
    other = RedisStore(server.url, timeout_s=PATIENT_S)
    await keep(store, KEY, b"x")
    began = await other.get(KEY)
    assert began.value == b"x"
    await store.clear(ONE)
    await other.put(KEY, b"from before", 60, began.generation)
    assert (await store.get(KEY)).value is None
    await other.close()


async def test_a_server_that_is_gone_is_a_miss_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_S", 0.2)
    with running_redis(tmp_path) as server:
        store = RedisStore(server.url, timeout_s=PATIENT_S)
        await keep(store, KEY, b"x")
        server.stop()
        for _ in range(module.FAILURES_TO_OPEN):
            assert await store.get(KEY) == NOTHING
        await store.put(KEY, b"y", 60, 0)
        server.start()
        await asyncio.sleep(0.25)
        assert await store.get(KEY) == (None, 0), "half-open: it is asked again, and is empty now"
        await store.close()


async def test_a_mute_server_costs_its_timeout_a_few_times_and_then_nothing(
    tmp_path: Path,
) -> None:
    with running_redis(tmp_path) as server:
        store = RedisStore(server.url, timeout_s=0.1)
        with server.frozen():
            for _ in range(module.FAILURES_TO_OPEN):
                assert await store.get(KEY) == NOTHING
            began = time.perf_counter()
            for _ in range(100):
                assert await store.get(KEY) == NOTHING
            assert (time.perf_counter() - began) / 100 < 0.02
        await store.close()


async def test_a_full_server_still_gives_what_it_has(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--maxmemory-policy", "noeviction") as server:
        store = RedisStore(server.url, timeout_s=PATIENT_S)
        await keep(store, KEY, b"x")
        raw: Redis = Redis.from_url(server.url)
        await raw.config_set("maxmemory", "1")
        for number in range(2 * module.FAILURES_TO_OPEN):
            await keep(store, f"{ONE}rag:{number + 2}", b"y")
        assert (await store.get(KEY)).value == b"x"
        await raw.aclose()
        await store.close()


async def test_a_flushed_server_and_a_key_of_another_type_are_misses(
    server: Server, store: RedisStore
) -> None:
    raw: Redis = Redis.from_url(server.url)
    await keep(store, KEY, b"x")
    await raw.flushall()
    assert (await store.get(KEY)).value is None
    await raw.hset(module.PREFIX + KEY, "a", "b")
    assert (await store.get(KEY)).value is None
    await keep(store, KEY, b"y")
    assert (await store.get(KEY)).value == b"y"
    await raw.aclose()
