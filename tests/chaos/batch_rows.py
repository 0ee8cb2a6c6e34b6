"""One bad text among good ones, from many clients at once: in one batch with them, and in one call.

The encoders are weightless; the batcher that their calls meet in is the real one.
"""

import asyncio
import time
from collections.abc import AsyncGenerator

import aiohttp

from tests.chaos.batched import POISON
from tests.chaos.load import Outcome, Shot, send, tally
from tests.chaos.row import Row, misses
from tests.chaos.size import Size
from tests.chaos.stand import Guarded

CALLS = 600
AT_ONCE = 12
"""Below what the entry service lets through to a slow stage: an overload is another test."""

EVERY = 20
"""One call in so many has a bad item."""

WORDS = "a text of some words"


async def bad_items(stand: Guarded, _: Size) -> AsyncGenerator[Row, None]:
    """The embedding stage, then the reranking stage."""
    key = stand.keys.create("batches")
    headers = (("authorization", f"Bearer {key}"),)

    def embed(number: int) -> Shot:
        model = "all-minilm-l6-v2"
        return Shot("/v1/embeddings", {"model": model, "input": _text(number)}, headers)

    def rerank(number: int) -> Shot:
        documents = ["a good one", _text(number), "another"]
        body = {"model": "ms-marco-minilm-l-12-v2", "query": WORDS, "documents": documents}
        return Shot("/v1/rerank", body, headers)

    for stage, make in (("embedding", embed), ("reranking", rerank)):
        before = (await stand.state())["spoilt"]
        outcomes = await _all(stand.url, [make(number) for number in range(CALLS)])
        yield _row(stage, outcomes, (await stand.state())["spoilt"] - before)
    stand.keys.revoke("batches")


def _text(number: int) -> str:
    return f"{WORDS} {POISON if number % EVERY == 0 else number}"


async def _all(url: str, shots: list[Shot]) -> list[Outcome]:
    """All of them, so many at once."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(session: aiohttp.ClientSession, shot: Shot) -> Outcome:
        async with turns:
            return await send(session, url, shot, time.monotonic())

    async with aiohttp.ClientSession() as session:
        return list(await asyncio.gather(*(one(session, shot) for shot in shots)))


def _row(stage: str, outcomes: list[Outcome], spoilt: int) -> Row:
    bad, good = outcomes[::EVERY], [o for n, o in enumerate(outcomes) if n % EVERY]
    typed = [o for o in bad if (o.status, o.end) == (500, "error")]
    failed = [o for o in good if o.end != "ok"]
    example = f" ({failed[0].status} {failed[0].detail[:80]})".replace("|", "/") if failed else ""
    return Row(
        f"a bad item in a batch: {stage}",
        "only the call that brought it fails, with a typed error",
        f"{len(bad)} bad among {len(outcomes)} calls: {len(typed)} failed typed; the good ones: "
        f"{tally(good)}{example}; {spoilt} batches held both",
        misses(
            bad_ones_fail=len(typed) == len(bad),
            good_ones_answered=not failed,
            met_in_batches=spoilt > 0,
        ),
    )
