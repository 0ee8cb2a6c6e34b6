"""The rows that the stand shows: load, overload, broken hops, bad upstreams and bad clients."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import psutil

from tests.chaos.load import (
    Outcome,
    Shot,
    capacity,
    fire,
    kinds,
    question,
    reasons,
    send,
    tally,
)
from tests.chaos.proxy import Fault
from tests.chaos.row import Row, misses, percentile
from tests.chaos.stand import CONCURRENCY, SERVICES, Stand

MIB = 1 << 20
DEADLINE_S = 5.0
GRACE_S = 0.25
WARM_UP = 20
IDLE_S = 6
"""After which idle connections between the services are closed."""


@dataclass(frozen=True)
class Size:
    """How long a run lasts and how often it repeats."""

    seconds: float
    disconnects: int
    slow_clients: int
    terms: int
    soak_s: float
    kill_rounds: int


SHORT = Size(seconds=4, disconnects=100, slow_clients=50, terms=1, soak_s=20, kill_rounds=1)
LONG = Size(seconds=15, disconnects=1000, slow_clients=200, terms=20, soak_s=1260, kill_rounds=30)


def mixed(number: int) -> Shot:
    """Half streams, and the operator's routes among the questions."""
    if number % 10 == 0:
        return Shot(("/readyz", "/version")[number // 10 % 2])
    return question(number, stream=number % 2 == 0)


async def load_and_overload(stand: Stand, size: Size) -> list[Row]:
    """60 % of capacity, then more than there is."""
    peak = await capacity(stand.url, size.seconds, question, CONCURRENCY)
    calm = await fire(stand.url, 0.6 * peak, size.seconds, mixed)
    failed = len(calm) - len(kinds(calm, "ok"))
    took_ms = [outcome.took_s * 1000 for outcome in calm]
    rows = [
        Row(
            "load at 60 % of capacity, mixed endpoints, half streams",
            "0 failed",
            f"{len(calm)} requests at {0.6 * peak:.0f}/s: {tally(calm)}; "
            f"p50 {percentile(took_ms, 0.5):.0f} ms, p99 {percentile(took_ms, 0.99):.0f} ms"
            f"{reasons(calm) and f' ({reasons(calm)})'}",
            misses(none_failed=failed == 0),
        )
    ]
    for factor, share in ((2, 0.95), (5, 0.9), (10, 0.9)):
        rows.append(await _overload(stand, size, peak, factor, share))
    return rows


async def _overload(stand: Stand, size: Size, peak: float, factor: int, share: float) -> Row:
    outcomes = await fire(stand.url, factor * peak, size.seconds, question)
    good, refused = kinds(outcomes, "ok"), kinds(outcomes, "refused")
    goodput = len(good) / (max(o.at_s + o.took_s for o in outcomes) - outcomes[0].at_s)
    refusal_ms = percentile([o.took_s * 1000 for o in refused], 0.99)
    lag_ms = percentile([o.lag_s * 1000 for o in refused], 0.99)
    began = time.monotonic()
    while (await fire(stand.url, 2, 1, question))[-1].took_s > 1 and time.monotonic() < began + 30:
        pass
    back_s = time.monotonic() - began
    return Row(
        f"overload {factor}x",
        f"goodput >= {share:.0%} of peak; refusals 429/503 with Retry-After, p99 <= 50 ms; "
        "back to baseline in 5 s",
        f"{tally(outcomes)}; goodput {goodput / peak:.0%} of {peak:.0f}/s; "
        f"refusals p99 {refusal_ms:.0f} ms (the generator's own lag: {lag_ms:.0f} ms); "
        f"back after {back_s:.1f} s",
        misses(
            goodput=goodput >= share * peak,
            refusals_typed=len(good) + len(refused) == len(outcomes),
            retry_after=all(o.retry_after for o in refused),
            refusal_time=refusal_ms <= 50,
            back=back_s <= 5,
        ),
    )


async def broken_hops(stand: Stand, size: Size) -> list[Row]:
    """Every fault on every hop at once."""
    rows = []
    faults: tuple[Fault, ...] = ("latency", "slice", "flip", "reset", "blackhole")
    for fault in faults:
        stand.break_all(fault)
        outcomes = await fire(stand.url, 5, size.seconds, lambda n: question(n, stream=n % 2 == 0))
        stand.break_all("none")
        await stand.wait_ready()
        rows.append(_fault_row(f"all hops: {fault}", outcomes))
    return rows


async def bad_upstreams(stand: Stand, size: Size) -> list[Row]:
    """An LLM that refuses, hangs, stops in mid-stream, or drips."""
    rows = []
    proxy = stand.proxies["SmallLLM"]
    faults: tuple[Fault, ...] = ("blackhole", "half-open", "drip", "reset")
    for fault in faults:
        proxy.fault = fault
        outcomes = await fire(stand.url, 5, size.seconds, question)
        proxy.fault = "none"
        await stand.wait_ready()
        rows.append(_fault_row(f"LLM: {fault}", outcomes))
    await proxy.stop()
    outcomes = await fire(stand.url, 5, size.seconds, question)
    await proxy.start()
    await stand.wait_ready()
    rows.append(_fault_row("LLM: refuses connections", outcomes))
    return rows


def _fault_row(test: str, outcomes: list[Outcome]) -> Row:
    broken = [o for o in outcomes if o.end == "broken" or (o.end == "error" and o.status == 500)]
    slow_s = max(o.took_s for o in outcomes)
    degraded = sorted({what for o in outcomes for what in o.degraded})
    example = f" ({broken[0].status} {broken[0].detail[:80]})" if broken else ""
    return Row(
        test,
        "an answer (perhaps degraded) or a typed refusal, never a 500 or a broken body; "
        "inside the deadline + 250 ms",
        f"{tally(outcomes)}; degraded: {', '.join(degraded) or 'nothing'}; "
        f"slowest {slow_s:.2f} s{example.replace('|', '/')}",
        misses(typed=not broken, in_time=slow_s <= DEADLINE_S + GRACE_S),
    )


async def slow_clients(stand: Stand, size: Size) -> list[Row]:
    """Clients that ask for streams and read a byte a second, beside ones that behave."""
    rate = 5.0
    before = await fire(stand.url, rate, size.seconds, question)
    slow = [asyncio.create_task(_read_slowly(stand.url, n)) for n in range(size.slow_clients)]
    await asyncio.sleep(3)
    beside = await fire(stand.url, rate, size.seconds, question)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    p99_before, p99 = (
        percentile([o.took_s * 1000 for o in outcomes], 0.99) for outcomes in (before, beside)
    )
    return [
        Row(
            f"{size.slow_clients} slow clients",
            "the others' p99 <= 1.2x, 0 failed",
            f"p99 {p99_before:.0f} ms without, {p99:.0f} ms beside them; {tally(beside)}",
            misses(
                p99=p99 <= 1.2 * p99_before, none_failed=len(kinds(beside, "ok")) == len(beside)
            ),
        )
    ]


async def _read_slowly(url: str, number: int) -> None:
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(question(number, stream=True).body)
    reader, writer = await asyncio.open_connection(host, int(port), limit=64)
    head = f"POST /rag_query HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    writer.write(f"{head}content-type: application/json\r\n\r\n{body}".encode())
    try:
        while await reader.read(1):
            await asyncio.sleep(1)
    finally:
        writer.close()


async def disconnects(stand: Stand, size: Size) -> list[Row]:
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
    return [
        Row(
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
    ]


async def oversize(stand: Stand, _: Size) -> list[Row]:
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
    return [
        Row(
            "oversize body, documents, texts",
            "413/422; memory grows by <= 3x the limit (48 MiB)",
            f"{', '.join(f'{name} {status}' for name, status in seen.items())}; "
            f"memory grew by {grown:.0f} MiB",
            misses(
                statuses=all(seen[name] == status for name, (status, _) in shots.items()),
                memory=grown <= 48,
            ),
        )
    ]


async def sigterm(stand: Stand, size: Size) -> list[Row]:
    """SIGTERM while requests and streams are in work."""
    lost, accepted, left, slowest, untyped = 0, 0, 0, 0.0, 0
    for _ in range(size.terms):
        load = asyncio.create_task(fire(stand.url, 20, 4, lambda n: question(n, stream=n % 3 == 0)))
        await asyncio.sleep(2)
        family = [psutil.Process(stand.process.pid), stand.entry()]
        began = time.monotonic()
        family[0].terminate()
        await asyncio.to_thread(stand.process.wait, 30)
        slowest = max(slowest, time.monotonic() - began)
        outcomes = await load
        before = [o for o in outcomes if o.at_s < began - 0.05]
        accepted += len(before)
        lost += len(before) - len(kinds(before, "ok", "refused"))
        untyped += len([o for o in kinds(outcomes, "error") if not o.detail])
        left += sum(process.is_running() for process in family[1:])
        await stand.restart_entry()
    return [
        Row(
            f"SIGTERM under load, {size.terms} times",
            "0 lost of those sent before it; ends within the drain limit (10 s); no process left",
            f"{lost} lost of {accepted}; ended after at most {slowest:.1f} s; "
            f"{left} processes left; {untyped} untyped",
            misses(
                none_lost=lost == 0,
                in_time=slowest <= 12,
                nothing_left=left == 0,
                typed=untyped == 0,
            ),
        )
    ]


async def soak(stand: Stand, size: Size) -> list[Row]:
    """Faults come and go for a long time; nothing grows."""
    entry = stand.entry()
    await fire(stand.url, 10, 5, mixed)
    samples: list[tuple[int, float, int]] = []
    outcomes: list[Outcome] = []
    faults: tuple[Fault, ...] = ("none", "latency", "none", "reset", "none", "slice")
    began, turn = time.monotonic(), 0
    while time.monotonic() - began < size.soak_s:
        stand.proxies[SERVICES[turn % len(SERVICES)]].fault = faults[turn % len(faults)]
        outcomes += await fire(stand.url, 15, 4, mixed)
        stand.break_all("none")
        samples.append((len(outcomes), entry.memory_info().rss / MIB, entry.num_fds()))
        turn += 1
    broken = [o for o in outcomes if o.end == "broken" or (o.end == "error" and o.status == 500)]
    # The first fifth warms caches and pools up.
    warm = samples[len(samples) // 5 :]
    requests = max(1, warm[-1][0] - warm[0][0])
    slope = (warm[-1][1] - warm[0][1]) / requests * 10_000
    enough = requests >= 5000
    note = "" if enough else ", too few to tell"
    return [
        Row(
            f"soak of {size.soak_s / 60:.0f} min with faults",
            "memory <= 1 MiB per 10,000 requests; descriptors flat; no 500",
            f"{len(outcomes)} requests: {tally(outcomes)}; memory {warm[0][1]:.0f} -> "
            f"{warm[-1][1]:.0f} MiB ({slope:.1f} per 10,000{note}); "
            f"descriptors {warm[0][2]} -> {warm[-1][2]}",
            misses(
                memory=slope <= 1 or not enough,
                descriptors=warm[-1][2] <= warm[0][2] + 10,
                typed=not broken,
            ),
        )
    ]


StandTest = Callable[[Stand, Size], object]
TESTS = {
    "load": load_and_overload,
    "hops": broken_hops,
    "upstreams": bad_upstreams,
    "slow": slow_clients,
    "disconnects": disconnects,
    "oversize": oversize,
    "sigterm": sigterm,
    "soak": soak,
}
