"""A tier that hangs delays those who ask it, not the other tier or embeddings."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.support.services import Services, entry, with_door
from tiffin.config.settings import Settings

PLACES = 8
CALLS = 40
PATIENCE_MS = 1000
"""Of those who ask the tier that hangs."""

TURNS = [{"role": "user", "content": "How tall is the tower?"}]


@pytest.mark.slow
async def test_while_one_tier_hangs_the_other_and_embeddings_refuse_no_one(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"large": 60}
    large: list[int] = []
    few = with_door(settings, PLACES, max_waiting=PLACES, max_wait_ms=1000)
    async with entry(services, few) as client:
        flood = [asyncio.create_task(keep_asking(client, large)) for _ in range(3 * PLACES)]
        await asyncio.sleep(0.5)  # the places are taken
        small = [await chat(client, "small") for _ in range(CALLS)]
        vectors = [await embed(client, settings) for _ in range(CALLS)]
        await asyncio.sleep(2 * PATIENCE_MS / 1000)  # and answers of the large tier were late
        later = [await chat(client, "small") for _ in range(CALLS)]
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    assert set(large) == {503, 504}, "refused, or not answered in time"
    assert Counter(small) == Counter(vectors) == Counter(later) == {200: CALLS}


async def keep_asking(client: httpx.AsyncClient, statuses: list[int]) -> None:
    while True:
        headers = {"x-request-timeout-ms": str(PATIENCE_MS)}
        statuses.append(await chat(client, "large", headers))
        await asyncio.sleep(0.1)


async def chat(client: httpx.AsyncClient, tier: str, headers: Any = None) -> int:
    body = {"model": tier, "messages": TURNS}
    return (await client.post("/v1/chat/completions", json=body, headers=headers)).status_code


async def embed(client: httpx.AsyncClient, settings: Settings) -> int:
    body = {"model": settings.embedding.model, "input": "The tower is tall."}
    return (await client.post("/v1/embeddings", json=body)).status_code
