"""Batches of many callers' inputs by tokens: what stands between a service and its encoder.

Used by `services/encoder.py`. Unlike a batcher by count it bounds the work of one forward pass:
`rows * longest row <= max_batch_tokens`. The input that waited longest leads each batch and the
inputs nearest to it in length join it, so little is spent on padding and nothing starves.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineFailed, EngineOverloaded

logger = logging.getLogger(__name__)

Rows = NDArray[np.float32]


class Sized(Protocol):
    """An input after tokenization."""

    @property
    def tokens(self) -> int:
        """Its length in tokens."""


Raw = TypeVar("Raw")
Tokenized = TypeVar("Tokenized", bound=Sized)


@dataclass(eq=False)
class _Call:
    """One caller's inputs and the rows that have come back for them."""

    rows: list[Rows | None]
    done: "asyncio.Future[Rows]"
    missing: int

    def put(self, index: int, row: Rows) -> None:
        self.rows[index] = row
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(np.stack([row for row in self.rows if row is not None]))

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(eq=False)
class _Item(Generic[Tokenized]):
    """One input in the queue."""

    call: _Call
    index: int
    value: Tokenized = field(repr=False)


class TokenBatcher(Generic[Raw, Tokenized]):
    """Runs an encoder for many callers at once.

    `tokenize` and `run` are the encoder's (`models.engines.protocol.EncoderEngine`); they block,
    and run in threads of ours. One batch runs at a time. Callers that left are dropped before
    compute; an input on which the encoder fails fails its own caller only.
    """

    def __init__(
        self,
        tokenize: Callable[[Sequence[Raw]], list[Tokenized]],
        run: Callable[[Sequence[Tokenized]], Rows],
        *,
        max_batch_tokens: int,
        max_queue_tokens: int,
    ) -> None:
        self._tokenize = tokenize
        self._run = run
        self._max_batch_tokens = max_batch_tokens
        self._max_queue_tokens = max_queue_tokens
        self._queue: list[_Item[Tokenized]] = []
        self._batch: list[_Item[Tokenized]] = []
        self._queued_tokens = 0
        self._arrived = asyncio.Event()
        self._compute = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Inputs in the queue."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Inputs in the forward pass that runs."""
        return len(self._batch)

    async def submit(
        self,
        inputs: Sequence[Raw],
        tokenize: Callable[[Sequence[Raw]], list[Tokenized]] | None = None,
    ) -> tuple[Rows, int]:
        """The encoder's rows, float32 (len(inputs), width) in input order, and the tokens read.

        `tokenize` takes the place of the usual one for this call.
        Raises EngineOverloaded when the queue is full and EngineFailed when the encoder fails.
        """
        if not inputs:
            return np.empty((0, 0), np.float32), 0
        loop = asyncio.get_running_loop()
        if self._worker is None:
            self._worker = loop.create_task(self._work(), name="token-batcher")
        values = await loop.run_in_executor(self._tokenizing, tokenize or self._tokenize, inputs)
        tokens = sum(value.tokens for value in values)
        # A single call larger than the whole queue is let in when nothing else waits.
        if self._queue and self._queued_tokens + tokens > self._max_queue_tokens:
            message = f"the queue is full: {self._queued_tokens} of {self._max_queue_tokens} tokens"
            raise EngineOverloaded(message)
        call = _Call([None] * len(values), loop.create_future(), len(values))
        self._queue.extend(_Item(call, index, value) for index, value in enumerate(values))
        self._queued_tokens += tokens
        self._arrived.set()
        return await call.done, tokens

    async def close(self) -> None:
        """Stop; callers that still wait get EngineFailed."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for item in (*self._batch, *self._queue):
            item.call.fail(EngineFailed("the service is stopping"))
        self._queue.clear()
        self._compute.shutdown(wait=False)
        self._tokenizing.shutdown(wait=False)

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._batch = self._next_batch()
            if self._batch:
                await self._compute_batch(self._batch)
            else:
                self._arrived.clear()

    def _next_batch(self) -> list[_Item[Tokenized]]:
        """Take the oldest input and those nearest to it in length out of the queue."""
        self._queue = [item for item in self._queue if not item.call.done.done()]
        batch: list[_Item[Tokenized]] = []
        if self._queue:
            lead = self._queue[0].value.tokens
            longest = lead
            for item in sorted(self._queue, key=lambda item: abs(item.value.tokens - lead)):
                longest = max(longest, item.value.tokens)
                if batch and longest * (len(batch) + 1) > self._max_batch_tokens:
                    break
                batch.append(item)
            taken = set(map(id, batch))
            self._queue = [item for item in self._queue if id(item) not in taken]
        self._queued_tokens = sum(item.value.tokens for item in self._queue)
        return batch

    async def _compute_batch(self, batch: list[_Item[Tokenized]]) -> None:
        try:
            rows = await self._forward(batch)
        except Exception:
            if len(batch) > 1:
                logger.warning("a batch of %d failed; running its inputs one by one", len(batch))
                for item in batch:
                    await self._compute_batch([item])
                return
            logger.exception("the encoder failed on an input")
            batch[0].call.fail(EngineFailed(f"the encoder failed on input {batch[0].index}"))
            return
        for item, row in zip(batch, rows, strict=True):
            if np.isfinite(row).all():
                item.call.put(item.index, row)
            else:
                message = f"the encoder gave numbers that are not finite for input {item.index}"
                item.call.fail(EngineFailed(message))

    async def _forward(self, batch: list[_Item[Tokenized]]) -> Rows:
        loop = asyncio.get_running_loop()
        values = [item.value for item in batch]
        return await loop.run_in_executor(self._compute, self._run, values)
