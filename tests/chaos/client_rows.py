"""Clients that are slow, leave, or send too much."""

import asyncio
import time
from collections.abc import AsyncGenerator

import aiohttp

from tests.chaos.load import Shot, question, send
from tests.chaos.row import Row, misses, percentile
from tests.chaos.size import Size
from tests.chaos.stand import GRACE_S, MIB, Stand

WARM_UP = 20
IDLE_S = 6
"""After which idle connections between the services are closed."""


async def disconnects(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """Clients that leave in mid-stream, and before the first byte."""
    entry = stand.entry()
    left: list[float] = []
    turns = asyncio.Semaphore(4)

    async def leave(number: int) -> None:
        async with turns, aiohttp.ClientSession() as session:
            shot = question(number, stream=True, max_tokens=4096)
            async with session.post(stand.url + shot.path, json=shot.body) as response:
                while b"rag.delta" not in await response.content.readline():
                    if response.content.at_eof():
                        return
                response.close()
                left.append(time.time())

    # Some connections between the services stay open: the probes of readiness use them in turn.
    await asyncio.gather(*(leave(number) for number in range(WARM_UP)))
    await asyncio.sleep(IDLE_S)
    before = (await stand.state())["tasks"], entry.num_fds()
    left.clear()
    await asyncio.gather(*(leave(number) for number in range(size.disconnects)))
    await asyncio.sleep(IDLE_S)
    state = await stand.state()
    stopped = sorted(state["stopped_at"])[-len(left) :]
    lags_ms = [(end - gone) * 1000 for gone, end in zip(sorted(left), stopped, strict=False)]
    late = sum(lag > GRACE_S * 1000 for lag in lags_ms)
    after = state["tasks"], entry.num_fds()
    yield Row(
        f"{size.disconnects} disconnects",
        "generation stops within 250 ms in 99.9 %; tasks and descriptors back to baseline",
        f"{len(stopped)} of {len(left)} stopped, p50 {percentile(lags_ms, 0.5):.0f} ms, p99.9 "
        f"{percentile(lags_ms, 0.999):.0f} ms, {late} late; still running: {state['running']}; "
        f"tasks {before[0]} -> {after[0]}, descriptors {before[1]} -> {after[1]}",
        misses(
            all_left=len(left) == size.disconnects,
            stopped_in_time=len(stopped) == len(left) and late <= len(left) / 1000,
            nothing_runs=state["running"] == 0,
            baseline=after[0] <= before[0] + 5 and after[1] <= before[1] + 5,
        ),
    )


async def oversize(stand: Stand, _: Size) -> AsyncGenerator[Row, None]:
    """Bodies, documents and texts over their limits."""
    entry = stand.entry()
    before = entry.memory_info().rss
    limit = 16 * MIB
    shots = {
        "body": (413, Shot(body={"query": "x", "documents": ["x" * (limit + 1)]})),
        "documents": (422, Shot(body={"query": "x", "documents": ["x"] * 1001})),
        "document": (422, Shot(body={"query": "x", "documents": ["x" * 200_001]})),
        "query": (422, Shot(body={"query": "x" * 8001, "documents": ["x"]})),
    }
    seen: dict[str, int] = {}
    peak = before
    async with aiohttp.ClientSession() as session:
        for name, (_status, shot) in shots.items():
            outcome = await send(session, stand.url, shot, time.monotonic())
            seen[name] = outcome.status
            peak = max(peak, entry.memory_info().rss)
    grown = (peak - before) / MIB
    yield Row(
        "oversize body, documents, texts",
        "413/422; memory grows by <= 3x the limit (48 MiB)",
        f"{', '.join(f'{name} {status}' for name, status in seen.items())}; "
        f"memory grew by {grown:.0f} MiB",
        misses(
            statuses=all(seen[name] == status for name, (status, _) in shots.items()),
            memory=grown <= 48,
        ),
    )
