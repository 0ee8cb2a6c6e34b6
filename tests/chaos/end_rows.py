"""How it ends when it is told to, and what is left of it after a long time."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import aiohttp
import psutil

from tests.chaos.corpus_rows import corpus_of
from tests.chaos.load import Outcome, Shot, fire, kinds, question, send, tally
from tests.chaos.load_rows import mixed
from tests.chaos.proxy import Fault
from tests.chaos.row import Row, misses
from tests.chaos.size import Size
from tests.chaos.stand import CONCURRENCY, DRAIN_S, MIB, SERVICES, Stand

RATE_PER_S = 50
STREAMS = 20
BEFORE_S, AFTER_S = 2.5, 1.0
ROOM = 96
"""Questions in work that the entry service may have here: enough for both."""

LONG_WORDS, TOO_LONG_WORDS = 300, 1500
"""A stream that ends within the drain limit, and one that does not."""

MORE_SERIES = 100
"""In a soak: a rare outcome may still show itself for the first time, with its buckets."""

SENT_S = 0.05
"""A request that should have left this long before the signal has arrived before it."""


@dataclass
class Ending:
    """What became of the requests sent before SIGTERM, over all rounds."""

    accepted: int = 0
    lost: int = 0
    typed: int = 0
    refused: int = 0
    took_s: float = 0.0
    left: int = 0
    example: str = ""

    def count(self, outcomes: list[Outcome]) -> None:
        """One round's."""
        refused, broken = kinds(outcomes, "refused"), kinds(outcomes, "broken")
        self.refused += len(refused)
        self.accepted += len(outcomes) - len(refused)
        self.lost += len(broken)
        self.typed += len(kinds(outcomes, "error"))
        if broken:
            self.example = f" ({broken[0].status} {broken[0].detail[:80]})".replace("|", "/")


async def sigterm(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """SIGTERM while requests and streams are in work, again and again."""
    seen = Ending()
    await stand.restart_entry(TIFFIN_LIMITS__CONCURRENCY=str(ROOM))
    for left in reversed(range(size.terms)):
        await _end(stand, seen)
        await stand.restart_entry(TIFFIN_LIMITS__CONCURRENCY=str(ROOM if left else CONCURRENCY))
    wanted = 100 * size.terms
    yield Row(
        f"SIGTERM under {RATE_PER_S} requests/s and {STREAMS} streams, {size.terms} times",
        f"0 lost of >= {wanted} accepted before it (a stream may end typed at the drain limit, "
        f"{DRAIN_S} s); no process left",
        f"{seen.lost} lost of {seen.accepted} accepted{seen.example} ({seen.refused} refused before"
        f" it, {seen.typed} ended typed); ended after at most {seen.took_s:.1f} s; "
        f"{seen.left} processes left",
        misses(
            none_lost=seen.lost == 0,
            enough_accepted=seen.accepted >= wanted,
            in_time=seen.took_s <= DRAIN_S + 3,
            nothing_left=seen.left == 0,
        ),
    )


async def _end(stand: Stand, seen: Ending) -> None:
    """One round: load, SIGTERM, and what became of what was sent before it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        streams = [asyncio.create_task(_long_stream(session, stand.url, n)) for n in range(STREAMS)]
        load = asyncio.create_task(fire(stand.url, RATE_PER_S, BEFORE_S + AFTER_S, _every_kind))
        await asyncio.sleep(BEFORE_S)
        family = [psutil.Process(stand.process.pid), stand.entry()]
        began = time.monotonic()
        family[0].terminate()
        await asyncio.to_thread(stand.process.wait, 60)
        seen.took_s = max(seen.took_s, time.monotonic() - began)
        outcomes = [*await load, *await asyncio.gather(*streams)]
    seen.count([outcome for outcome in outcomes if outcome.at_s < began - SENT_S])
    seen.left += sum(process.is_running() for process in family)


def _every_kind(number: int) -> Shot:
    """A fifth are questions, of which half are streamed; the rest embed a text."""
    if number % 5:
        body = {"model": "all-minilm-l6-v2", "input": f"text number {number}"}
        return Shot("/v1/embeddings", body)
    return question(number, stream=number % 2 == 0)


async def _long_stream(session: aiohttp.ClientSession, url: str, number: int) -> Outcome:
    words = TOO_LONG_WORDS if number % 5 == 0 else LONG_WORDS
    return await send(
        session, url, question(number, stream=True, max_tokens=words), time.monotonic()
    )


async def soak(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """Faults come and go for a long time, with cache, corpus and safety on; nothing grows."""
    await stand.restart_entry(
        TIFFIN_CORPORA=str(stand.directory / "soaked"),
        TIFFIN_CACHE__EXACT="true",
        TIFFIN_SAFETY__CHAT__INPUT=json.dumps({"injection": "block"}),
    )
    async with aiohttp.ClientSession(base_url=stand.url) as session:
        await corpus_of(session, "soaked", "The soaked tower is 324 metres tall.")
    entry = stand.entry()
    await fire(stand.url, 10, 5, everything)
    samples: list[tuple[int, float, int, int]] = []
    outcomes: list[Outcome] = []
    faults: tuple[Fault, ...] = ("none", "latency", "none", "reset", "none", "slice")
    began, turn = time.monotonic(), 0
    while time.monotonic() - began < size.soak_s:
        stand.proxies[SERVICES[turn % len(SERVICES)]].fault = faults[turn % len(faults)]
        outcomes += await fire(stand.url, 15, 4, everything)
        stand.break_all("none")
        memory_mib, descriptors = entry.memory_info().rss / MIB, entry.num_fds()
        samples.append((len(outcomes), memory_mib, descriptors, await _series(stand.url)))
        turn += 1
    broken = [o for o in outcomes if o.end == "broken" or (o.end == "error" and o.status == 500)]
    for name in ("TIFFIN_CORPORA", "TIFFIN_SAFETY__CHAT__INPUT"):
        del stand.environment[name]
    await stand.restart_entry(TIFFIN_CACHE__EXACT="false")
    # The first fifth warms caches and pools up.
    warm = samples[len(samples) // 5 :]
    requests = max(1, warm[-1][0] - warm[0][0])
    slope = (warm[-1][1] - warm[0][1]) / requests * 10_000
    enough = requests >= 5000
    note = "" if enough else ", too few to tell"
    yield Row(
        f"soak of {size.soak_s / 60:.0f} min with faults; cache, corpus and safety on",
        "memory <= 1 MiB per 10,000 requests; descriptors and metric series flat; no 500",
        f"{len(outcomes)} requests: {tally(outcomes)}; memory {warm[0][1]:.0f} -> "
        f"{warm[-1][1]:.0f} MiB ({slope:.1f} per 10,000{note}); "
        f"descriptors {warm[0][2]} -> {warm[-1][2]}, metric series {warm[0][3]} -> {warm[-1][3]}",
        misses(
            memory=slope <= 1 or not enough,
            descriptors=warm[-1][2] <= warm[0][2] + 10,
            series=warm[-1][3] <= warm[0][3] + MORE_SERIES or not enough,
            typed=not broken,
        ),
    )


def everything(number: int) -> Shot:
    """What `mixed` is; a third asks the corpus, or a chat that was asked before and is kept."""
    if number % 3:
        return mixed(number)
    if number % 2:
        body = {"query": f"How tall is the soaked tower {number}?", "corpus": "soaked"}
        return Shot(body=body)
    turn = {"role": "user", "content": f"What is asked again, number {number % 8}?"}
    return Shot("/v1/chat/completions", {"model": "small", "messages": [turn], "temperature": 0})


async def _series(url: str) -> int:
    """How many series of ours `/metrics` has now."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        return (await response.text()).count("\ntiffin_")
