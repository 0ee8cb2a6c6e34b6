"""A cache that replicas share, on a real server that is not well."""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass

import aiohttp
from redis.asyncio import Redis

from tests.chaos.backends import ECHO
from tests.chaos.row import Row, misses, percentile
from tests.chaos.size import Size
from tests.chaos.stand import Stand
from tests.support.redis import Server, running_redis
from tiffin.cache.redis import FAILURES_TO_OPEN, OPEN_S, PREFIX

ASKED = 150
"""Requests for each fault: one after another, all different."""

ADDED_MS = 20.0
BACK_S = 5.0

Fault = Callable[["Sick"], Awaitable[None]]


@dataclass
class Sick:
    """The server, a client of it that the faults use, and what ends a fault."""

    server: Server
    raw: "Redis"
    over: ExitStack


async def _gone(sick: Sick) -> None:
    sick.server.stop()


async def _mute(sick: Sick) -> None:
    sick.over.enter_context(sick.server.frozen())


async def _full(sick: Sick) -> None:
    await sick.raw.config_set("maxmemory-policy", "noeviction")
    await sick.raw.config_set("maxmemory", "1")


async def _flushed(sick: Sick) -> None:
    await sick.raw.flushall()


async def _corrupt(sick: Sick) -> None:
    async for key in sick.raw.scan_iter(f"{PREFIX}*:chat:*"):
        await sick.raw.set(key, b"\x00broken")


async def _of_another_version(sick: Sick) -> None:
    async for key in sick.raw.scan_iter(f"{PREFIX}*:chat:*"):
        await sick.raw.set(key, b"\x81\xa7version\xcd\x03\xe7")


FAULTS: dict[str, Fault] = {
    "gone": _gone,
    "mute": _mute,
    "full": _full,
    "flushed": _flushed,
    "corrupt": _corrupt,
    "of another version": _of_another_version,
}


async def sick_servers(stand: Stand, _: Size) -> AsyncGenerator[Row, None]:
    """Each fault once, against the same requests without a cache."""
    async with aiohttp.ClientSession(base_url=stand.url) as session:
        alone_ms = percentile((await _ask(session, "alone"))[1], 0.99)
    for name, fault in FAULTS.items():
        with running_redis(stand.directory) as server:
            await stand.restart_entry(TIFFIN_CACHE__EXACT="true", TIFFIN_CACHE__REDIS=server.url)
            async with aiohttp.ClientSession(base_url=stand.url) as session:
                yield await _one(session, server, name, fault, alone_ms)
    del stand.environment["TIFFIN_CACHE__REDIS"]
    await stand.restart_entry(TIFFIN_CACHE__EXACT="false")


async def _one(
    session: aiohttp.ClientSession, server: Server, name: str, fault: Fault, alone_ms: float
) -> Row:
    raw: Redis = Redis.from_url(server.url)
    kept = "kept before"
    await _ask(session, kept, 5)
    with ExitStack() as over:
        await fault(Sick(server, raw, over))
        old, _ = await _ask(session, kept, 5)
        ends, spans_ms = await _ask(session, name)
    if server.process is None:
        server.start()
    await raw.config_set("maxmemory", "0")
    back_s = await _until_kept(session)
    await raw.aclose()
    after_ms = percentile(spans_ms[FAILURES_TO_OPEN:], 0.99)
    failed = sum(count for end, count in (ends + old).items() if not end.startswith("200"))
    return Row(
        f"cache: the server is {name}",
        f"no 5xx; p99 <= {ADDED_MS:.0f} ms more than without a cache after {FAILURES_TO_OPEN} "
        f"failures; answers are kept again within {BACK_S:.0f} s",
        f"{_said(ends)}; kept before: {_said(old)}; p99 {after_ms:.0f} ms, without a cache"
        f" {alone_ms:.0f} ms; back after {back_s:.1f} s",
        misses(no_5xx=not failed, p99=after_ms <= alone_ms + ADDED_MS, back=back_s <= BACK_S),
    )


async def _ask(
    session: aiohttp.ClientSession, mark: str, count: int = ASKED
) -> tuple[Counter[str], list[float]]:
    """How requests that differ ended, by status and the cache's word; milliseconds of each."""
    ends: Counter[str] = Counter()
    spans_ms = []
    for number in range(count):
        turn = {"role": "user", "content": f"{ECHO} {mark} {number}"}
        body = {"model": "small", "messages": [turn], "temperature": 0}
        began = time.perf_counter()
        async with session.post("/v1/chat/completions", json=body) as response:
            await response.read()
        spans_ms.append((time.perf_counter() - began) * 1000)
        ends[f"{response.status} {response.headers.get('x-tiffin-cache', '-')}"] += 1
    return ends, spans_ms


async def _until_kept(session: aiohttp.ClientSession) -> float:
    """Seconds until an answer is given again; at most twice what the breaker waits."""
    began = time.monotonic()
    while (took_s := time.monotonic() - began) < 2 * OPEN_S:
        ends, _ = await _ask(session, "again", 1)
        if "200 exact" in ends:
            break
    return took_s


def _said(ends: Counter[str]) -> str:
    return ", ".join(f"{count}x {end}" for end, count in ends.items())
