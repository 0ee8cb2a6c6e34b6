"""The token batcher: what it puts together, and what happens when one caller is trouble."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import EngineFailed, EngineOverloaded
from tests.support.soon import SOON_S
from tiffin.traffic.batching import TokenBatcher


@dataclass(frozen=True)
class Text:
    value: str

    @property
    def tokens(self) -> int:
        return len(self.value)


@dataclass
class Encoder:
    """Gives each text's length as its row; waits for `gate`; fails on "bad", says NaN on "nan"."""

    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[list[str]] = field(default_factory=list)

    def tokenize(self, texts: Sequence[str]) -> list[Text]:
        return [Text(text) for text in texts]

    def run(self, batch: Sequence[Text]) -> NDArray[np.float32]:
        assert self.gate.wait(5)
        self.batches.append([text.value for text in batch])
        if any(text.value == "bad" for text in batch):
            message = "bad text"
            raise ValueError(message)
        rows = [[np.nan if text.value == "nan" else text.tokens] for text in batch]
        return np.array(rows, np.float32)


def batcher(encoder: Encoder, **limits: int) -> "TokenBatcher[str, Text]":
    defaults = {"max_batch_tokens": 100, "max_queue_tokens": 1000}
    return TokenBatcher(encoder.tokenize, encoder.run, **{**defaults, **limits})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.001)


async def test_rows_come_back_in_the_order_of_the_inputs() -> None:
    encoder = Encoder()
    encoder.gate.set()
    batch = batcher(encoder, max_batch_tokens=12)
    rows, tokens = await batch.submit(["ccc", "a", "eeeee", "bb", "dddd"])
    await batch.close()
    assert rows[:, 0].tolist() == [3, 1, 5, 2, 4]
    assert tokens == 15


async def test_no_batch_passes_the_budget_and_lengths_stay_together() -> None:
    encoder = Encoder()
    encoder.gate.set()
    batch = batcher(encoder, max_batch_tokens=40)
    await batch.submit(["x" * length for length in (20, 1, 19, 2, 18, 3, 17, 4)])
    await batch.close()
    padded = [max(map(len, texts)) * len(texts) for texts in encoder.batches]
    assert max(padded) <= 40
    spread = [max(map(len, texts)) - min(map(len, texts)) for texts in encoder.batches]
    assert max(spread) <= 3


async def test_an_input_longer_than_the_budget_runs_alone() -> None:
    encoder = Encoder()
    encoder.gate.set()
    batch = batcher(encoder, max_batch_tokens=10)
    rows, _ = await batch.submit(["x" * 30, "y"])
    await batch.close()
    assert rows[:, 0].tolist() == [30, 1]
    assert ["x" * 30] in encoder.batches


async def test_callers_share_a_batch_and_the_oldest_is_never_left_behind() -> None:
    encoder = Encoder()
    batch = batcher(encoder, max_batch_tokens=8)
    first = asyncio.create_task(batch.submit(["aa"]))
    await until(lambda: batch.waiting == 0 and batch.running)
    others = [asyncio.create_task(batch.submit([text])) for text in ("x" * 7, "bb", "cc", "dd")]
    await until(lambda: batch.waiting == 4)
    encoder.gate.set()
    await asyncio.gather(first, *others)
    await batch.close()
    assert encoder.batches == [["aa"], ["x" * 7], ["bb", "cc", "dd"]]


async def test_a_bad_input_fails_its_own_caller_only() -> None:
    encoder = Encoder()
    batch = batcher(encoder)
    blocker = asyncio.create_task(batch.submit(["first"]))
    await until(lambda: batch.running)
    calls = [asyncio.create_task(batch.submit([text])) for text in ("good", "bad", "nan", "fine")]
    await until(lambda: batch.waiting == 4)
    encoder.gate.set()
    await blocker
    good, bad, nan, fine = await asyncio.gather(*calls, return_exceptions=True)
    await batch.close()
    assert isinstance(good, tuple)
    assert isinstance(fine, tuple)
    assert good[0].tolist() == fine[0].tolist() == [[4.0]]
    assert isinstance(bad, EngineFailed)
    assert isinstance(nan, EngineFailed)


async def test_a_caller_that_left_is_dropped_before_compute() -> None:
    encoder = Encoder()
    batch = batcher(encoder)
    blocker = asyncio.create_task(batch.submit(["first"]))
    await until(lambda: batch.running)
    leaver = asyncio.create_task(batch.submit(["leaver"]))
    stayer = asyncio.create_task(batch.submit(["stayer"]))
    await until(lambda: batch.waiting == 2)
    leaver.cancel()
    await asyncio.sleep(0)
    encoder.gate.set()
    await asyncio.gather(blocker, stayer)
    await batch.close()
    assert encoder.batches == [["first"], ["stayer"]]


async def test_a_full_queue_refuses_and_says_how_full() -> None:
    encoder = Encoder()
    batch = batcher(encoder, max_queue_tokens=10)
    blocker = asyncio.create_task(batch.submit(["first"]))
    await until(lambda: batch.running)
    waiter = asyncio.create_task(batch.submit(["x" * 8]))
    await until(lambda: batch.waiting == 1)
    with pytest.raises(EngineOverloaded, match="8 of 10 tokens"):
        await batch.submit(["yyy"])
    encoder.gate.set()
    await asyncio.gather(blocker, waiter)
    await batch.close()


async def test_nothing_in_gives_nothing_back() -> None:
    batch = batcher(Encoder())
    rows, tokens = await batch.submit([])
    assert (len(rows), tokens) == (0, 0)


async def test_closing_fails_those_who_wait_instead_of_leaving_them() -> None:
    encoder = Encoder()
    batch = batcher(encoder)
    running = asyncio.create_task(batch.submit(["first"]))
    await until(lambda: batch.running)
    waiting = asyncio.create_task(batch.submit(["second"]))
    await until(lambda: batch.waiting == 1)
    encoder.gate.set()
    await batch.close()
    results = await asyncio.gather(running, waiting, return_exceptions=True)
    assert all(isinstance(result, EngineFailed) for result in results)
