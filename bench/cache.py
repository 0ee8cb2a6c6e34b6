"""What the cache takes of the entry service's CPU: a hit, a miss, and a chat that it leaves alone.

All in this process, with a gateway's parts and no HTTP: what a client waits for on top is the hop.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

import numpy as np

from bench.table import Table
from models.values import ChatMessage, Finished, GenerateRequest, TextDelta, TokenUsage
from tiffin.cache.answers import AnswerCache
from tiffin.cache.remembered import MOST, Remembered, encode
from tiffin.cache.store import MemoryStore
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.messages import Array
from tiffin.grounding.alike import Nearness, Worth
from tiffin.grounding.same import Asked, Kept, differences
from tiffin.pipeline.replay import Replay
from tiffin.pipeline.stages.recall import nearest
from tiffin.pipeline.writing import Head, Piece

ROUNDS = 2000
TOKENS = 100
WORDS = "how tall is the tower of the city " * 50
"""A conversation of 1,700 characters."""


async def _answer(text: str = "") -> AsyncGenerator[Head | Piece, None]:
    del text
    yield Head("small", "model")
    for _ in range(TOKENS):
        yield Piece(0, TextDelta("word "))
    usage = TokenUsage(prompt_tokens=400, completion_tokens=TOKENS)
    yield Piece(0, Finished("stop", usage))


async def _read(events: AsyncGenerator[Head | Piece, None]) -> None:
    async for _ in events:
        pass


def _asking(replay: Replay, temperature: float, number: int = 0) -> AsyncGenerator[Head | Piece]:
    turn = ChatMessage("user", f"{WORDS}{number}")
    requests = [GenerateRequest(messages=[turn], temperature=temperature)]
    context = RequestContext(Deadline.after(60))
    compute = partial(_answer, "")
    return replay.write("small", requests, context, compute, wanted=None, whole=True)


async def _p50_us(work: Callable[[int], Awaitable[None]]) -> float:
    spans = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        await work(number)
        spans.append(time.perf_counter() - began)
    return statistics.median(spans) * 1e6


async def _measure() -> str:
    replay = Replay(AnswerCache(MemoryStore(1 << 28), 3600), b"mark")
    await _read(_asking(replay, 0, -1))
    alone = await _p50_us(lambda _: _read(_answer()))
    sampled = await _p50_us(lambda _: _read(_asking(replay, 1.0)))
    miss = await _p50_us(lambda number: _read(_asking(replay, 0, number)))
    hit = await _p50_us(lambda _: _read(_asking(replay, 0, -1)))
    rows = [
        ["an answer of 100 pieces without the cache", f"{alone:.0f}"],
        ["sampled: passes by", f"{sampled:.0f}"],
        ["not kept yet: computed, kept", f"{miss:.0f}"],
        ["kept: given again", f"{hit:.0f}"],
        [f"nearest of {MOST} questions of a scope", f"{await _nearest():.0f}"],
        ["a near question compared with it", f"{await _compared():.0f}"],
    ]
    return str(Table("The cache", ["the entry service's CPU", "p50, us"], rows))


async def _nearest() -> float:
    draw = np.random.default_rng(1)
    vectors = draw.standard_normal((MOST, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = ("a sentence of evidence",) * 3
    stored = encode(
        [
            Remembered(
                id="x", question="how tall is it", vector=Array.of(vector), evidence=texts,
                logit=1.0, reading=1.0, support=texts[:1], text="330 metres", answer=bytes(2000),
                tier="small", created=time.time(), usd=0.0, seconds=1.0,
            )
            for vector in vectors
        ]
    )  # fmt: skip

    async def work(number: int) -> None:
        list(nearest(stored, vectors[number % MOST], 60))

    return await _p50_us(work)


async def _compared() -> float:
    sentence = ("Residents pay 5 euros an hour to park in the old town after six.",)
    worth = Worth(5.0, 1.0)
    kept = Kept(
        "How much do residents pay to park after six?", sentence, worth, sentence, "5 euros"
    )
    new = Asked("What does it cost residents to park a car after six?", sentence, worth)

    async def work(_: int) -> None:
        differences(kept, new, Nearness(0.95, 0.0), 0.01)

    return await _p50_us(work)


def run() -> str:
    """The table."""
    return asyncio.run(_measure())
