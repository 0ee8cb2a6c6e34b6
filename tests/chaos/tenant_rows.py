"""Several tenants at once: what is kept of one must never show in what another gets.

Of state there is: what is left of each key's minute, the ledger, and who waits at the door.
"""

import asyncio
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

import aiohttp

from tests.chaos.backends import ECHO
from tests.chaos.load import fire, kinds, question, reasons, tally
from tests.chaos.row import Row, misses, percentile
from tests.chaos.size import Size
from tests.chaos.stand import Guarded

TENANTS, AT_ONCE = 8, 24
LARGE_USD = (100 * 1 + 3 * 2) / 1e6
"""What the provider's answer costs by its own counts, at the stand's price."""

FLOOD_PER_S, QUIET_PER_S = 150.0, 3.0
WRITTEN_S = 1.0
"""By which the ledger has written all attempts."""


@dataclass
class Tenant:
    """One tenant with a limited key and an unlimited one, and what it got."""

    name: str
    limit: int
    limited_key: str = field(repr=False)
    key: str = field(repr=False)
    let_in: int = 0
    refused: int = 0
    answers: int = 0
    dear: int = 0
    billed: tuple[int, float] = (0, 0.0)
    foreign: list[str] = field(default_factory=list)


async def apart(stand: Guarded, size: Size) -> AsyncGenerator[Row, None]:
    """Requests of all tenants in random order; then a flood of one while another sends a few."""
    yield await _interleaved(stand, size.interleavings)
    yield await _flooded(stand, size)


async def _interleaved(stand: Guarded, requests: int) -> Row:
    stand.provider.forget()
    tenants = [_tenant(stand, number, requests) for number in range(TENANTS)]
    chance = random.Random(7)  # noqa: S311
    order = [(chance.choice(tenants), chance.random()) for _ in range(requests)]
    turns = asyncio.Semaphore(AT_ONCE)
    began = time.monotonic()

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        tenant, draw = order[number]
        async with turns:
            if draw < 0.5:
                await _list(session, tenant)
            else:
                await _chat(session, tenant, number, model="large" if draw < 0.6 else "small")

    async with aiohttp.ClientSession(base_url=stand.url) as session:
        await asyncio.gather(*(one(session, number) for number in range(requests)))
    took_s = time.monotonic() - began
    await asyncio.sleep(WRITTEN_S)
    foreign = [what for tenant in tenants for what in tenant.foreign]
    limits = [tenant for tenant in tenants if not _limit_held(tenant, took_s)]
    books = [tenant for tenant in tenants if not _booked(stand, tenant)]
    wrong = [*foreign[:1], *map(str, limits[:1]), *map(str, books[:1])]
    example = f" ({'; '.join(wrong)})" if wrong else ""
    return Row(
        f"{TENANTS} tenants, {requests} requests interleaved",
        "0 answers with another's words; each key held to its own limit; each tenant billed for "
        "its own answers",
        f"{sum(t.answers for t in tenants)} answers, {len(foreign)} of them another's; "
        f"{sum(t.refused for t in tenants)} refused at a key's limit, {len(limits)} limits not "
        f"held; {len(books)} tenants billed wrongly{example.replace('|', '/')}",
        misses(words=not foreign, limits=not limits, ledger=not books),
    )


def _tenant(stand: Guarded, number: int, requests: int) -> Tenant:
    """Half of the tenants have a limit below what they will ask, half one above."""
    name = f"tenant-{number}"
    share = requests // TENANTS // 2
    limit = share // 2 + number if number % 2 else 2 * share + number
    create = stand.keys.create
    limited = create(f"{name}-limited", tenant=name, requests_per_minute=limit)
    return Tenant(name, limit, limited, create(f"{name}-free", tenant=name))


async def _list(session: aiohttp.ClientSession, tenant: Tenant) -> None:
    headers = {"authorization": f"Bearer {tenant.limited_key}"}
    async with session.get("/v1/models", headers=headers) as response:
        tenant.let_in += response.status == 200
        tenant.refused += response.status == 429
        said = response.headers.get("x-ratelimit-limit-requests")
        if response.status not in {200, 429} or said != str(tenant.limit):
            tenant.foreign.append(f"{tenant.name} got {response.status} with the limit {said}")


async def _chat(session: aiohttp.ClientSession, tenant: Tenant, number: int, model: str) -> None:
    mark = f"{tenant.name}-{number}"
    body = {"model": model, "messages": [{"role": "user", "content": f"{ECHO} {mark}"}]}
    headers = {"authorization": f"Bearer {tenant.key}"}
    async with session.post("/v1/chat/completions", json=body, headers=headers) as response:
        text = await response.text()
    if response.status != 200:
        tenant.foreign.append(f"{tenant.name} got {response.status} {text[:80]}")
        return
    tenant.answers += 1
    tenant.dear += model == "large"
    said = json.loads(text)["choices"][0]["message"]["content"]
    if model == "small" and said.strip() != mark:
        tenant.foreign.append(f"{mark} was answered {said[:80]}")


def _limit_held(tenant: Tenant, took_s: float) -> bool:
    """A key gets its limit, and what flows back into its bucket in the meantime; no more."""
    most = tenant.limit * (1 + took_s / 60) + 1
    return min(tenant.let_in + tenant.refused, tenant.limit) <= tenant.let_in <= most


def _booked(stand: Guarded, tenant: Tenant) -> bool:
    """Whether the ledger has its answers, by its own key, for what they cost."""
    query = "SELECT key, COUNT(*), SUM(usd) FROM attempts WHERE tenant = ? GROUP BY key"
    connection = sqlite3.connect(stand.ledger())
    rows = connection.execute(query, (tenant.name,)).fetchall()
    connection.close()
    keys = [str(key) for key, _, _ in rows]
    attempts, usd = sum(int(row[1]) for row in rows), sum(float(row[2]) for row in rows)
    tenant.billed = attempts, usd
    right = abs(usd - tenant.dear * LARGE_USD) < LARGE_USD / 10 and attempts == tenant.answers
    return right and keys == [f"{tenant.name}-free"]


async def _flooded(stand: Guarded, size: Size) -> Row:
    flood, quiet = (
        (("authorization", f"Bearer {stand.keys.create(name)}"),) for name in ("flood", "quiet")
    )
    flooding = asyncio.create_task(
        fire(
            stand.url,
            FLOOD_PER_S,
            size.seconds,
            lambda n: replace(question(n, model="small"), headers=flood),
        )
    )
    calm = await fire(
        stand.url,
        QUIET_PER_S,
        size.seconds,
        lambda n: replace(question(n, model="small"), headers=quiet),
    )
    flooded = await flooding
    p99_ms = percentile([outcome.took_s * 1000 for outcome in calm], 0.99)
    ends = Counter(outcome.end for outcome in flooded)
    return Row(
        f"one tenant's flood of {FLOOD_PER_S:.0f}/s while another sends {QUIET_PER_S:.0f}/s",
        "the flood is refused in part, the other never",
        f"the other: {tally(calm)}{reasons(calm) and f' ({reasons(calm)})'}, p99 {p99_ms:.0f} ms; "
        f"the flood: {tally(flooded)}",
        misses(quiet_served=len(kinds(calm, "ok")) == len(calm), flood_refused=ends["refused"] > 0),
    )
