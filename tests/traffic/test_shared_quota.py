"""The limits of a minute, shared by replicas: in a real Redis, in a real PostgreSQL, and alone."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.support.postgres import programs, running_postgres
from tests.support.redis import Server, running_redis
from tests.support.soon import SOON_S
from tests.support.stack import free_port
from tiffin.api.middleware.access import KeyGuard
from tiffin.cache import limits
from tiffin.cache.limits import RedisBuckets
from tiffin.cache.redis import connect
from tiffin.routing.limits import PostgresBuckets
from tiffin.traffic import shared_quota
from tiffin.traffic.quota import Limiter, LocalLimiter
from tiffin.traffic.shared_quota import SharedLimiter

Replicas = tuple[Limiter, Limiter]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a store longer than a request would, because this machine may be busy."""
    monkeypatch.setattr(limits, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(shared_quota, "TIMEOUT_S", 1.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server, None, None]:
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(
    params=["redis", pytest.param("postgres", marks=pytest.mark.slow)],
)
async def replicas(request: pytest.FixtureRequest) -> AsyncGenerator[Replicas, None]:
    if request.param == "redis":
        url = request.getfixturevalue("server").url
        stores = RedisBuckets(url), RedisBuckets(url)
        yield SharedLimiter(stores[0]), SharedLimiter(stores[1])
        for store in stores:
            await store.close()
        return
    folder = programs()
    if folder is None:
        pytest.skip("no PostgreSQL here: install Debian's package postgresql")
    with running_postgres(folder) as postgres:
        both = PostgresBuckets(postgres.url), PostgresBuckets(postgres.url)
        for buckets in both:  # the first call connects, which may take longer than a limit waits
            await buckets.take("warm", 1, 0, None)
        yield SharedLimiter(both[0]), SharedLimiter(both[1])
        for buckets in both:
            await buckets.close()


async def test_two_replicas_let_through_exactly_what_one_would(replicas: Replicas) -> None:
    takes = [replicas[number % 2].take("k1:requests", 10, 1, 1) for number in range(30)]
    taken = await asyncio.gather(*takes)
    assert sum(one.wait_s == 0 for one in taken) == 10
    assert all(0 < one.wait_s <= 6 for one in taken if one.wait_s), "a request comes back every 6 s"


async def test_what_one_replica_corrects_the_other_sees(replicas: Replicas) -> None:
    one, other = replicas
    await one.take("k2:tokens", 1000, 400, 400)
    one.settle("k2:tokens", 1000, -300)
    async with asyncio.timeout(5):
        while (await other.take("k2:tokens", 1000, 0, 1)).level < 899:
            await asyncio.sleep(0.01)
    other.settle("k2:tokens", 1000, 5000)
    async with asyncio.timeout(5):
        while (await one.take("k2:tokens", 1000, 0, 1)).wait_s == 0:
            await asyncio.sleep(0.01)
    assert (await one.take("k2:tokens", 1000, 0, 1)).level < -4000, "in debt"


async def test_a_replica_that_ends_settles_what_is_open_and_leaves_no_connection(
    server: Server, tmp_path: Path
) -> None:
    async def app(_: Scope, receive: Receive, __: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            pass

    async def receive() -> Message:
        return {"type": "lifespan.shutdown"}

    async def send(_: Message) -> None:
        raise AssertionError("nothing is answered")

    watching = connect(server.url, 5)
    before = len(await watching.client_list())
    limiter = SharedLimiter(RedisBuckets(server.url))
    guard = KeyGuard(app, keys_file=tmp_path / "keys.json", limiter=limiter)
    await limiter.take("k6:tokens", 1000, 400, 400)
    assert len(await watching.client_list()) > before
    limiter.settle("k6:tokens", 1000, 500)
    await guard({"type": "lifespan"}, receive, send)
    assert len(await watching.client_list()) == before
    assert float(await watching.hget("tiffin:limit:k6:tokens", "level")) < 110
    await watching.aclose()


async def test_a_store_that_is_away_does_not_keep_a_replica_from_ending(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        limiter = SharedLimiter(RedisBuckets(server.url))
        await limiter.take("k7", 5, 1, 1)
        with server.frozen():
            limiter.settle("k7", 5, 1)
            async with asyncio.timeout(SOON_S):
                await limiter.close()


async def test_more_than_fits_needs_a_full_bucket_as_it_does_alone(replicas: Replicas) -> None:
    for name, limiter in (("k3", replicas[0]), ("k3", LocalLimiter())):
        assert (await limiter.take(name, 10, 30, 30)).wait_s == 0
        assert (await limiter.take(name, 10, 1, 1)).wait_s == pytest.approx(126, abs=2)


async def test_while_the_store_is_away_each_replica_holds_the_limit_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(shared_quota.logger, "warning", lambda *words: said.append(words[0]))
    limiter = SharedLimiter(PostgresBuckets(f"postgresql://me@127.0.0.1:{free_port()}/x"))
    taken = [await limiter.take("k4", 5, 1, 1) for _ in range(8)]
    assert [one.wait_s == 0 for one in taken] == [True] * 5 + [False] * 3
    assert len(said) == 1
    assert "each replica counts alone" in said[0]


async def test_a_server_that_comes_back_counts_again(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        buckets = RedisBuckets(server.url)
        limiter = SharedLimiter(buckets)
        await limiter.take("k5", 5, 5, 5)
        with server.frozen():
            assert (await limiter.take("k5", 5, 1, 1)).wait_s == 0, "alone"
        assert (await limiter.take("k5", 5, 1, 1)).wait_s > 0, "the server remembers"
        await buckets.close()
