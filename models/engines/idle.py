"""Puts an idle tier to sleep: its weights leave the GPU and return for the next request.

Wraps an engine that can sleep (`models.engines.vllm` on a GPU). The LLM services use it if
`sleep_after_s` is set.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from models.engines.protocol import LLMEngine
from models.values import ChatMessage, EngineHealth, GenerateRequest, TokenEvent, Tool

logger = logging.getLogger("bentoml.service.tiffin")

CHECKS = 4
"""How often the idle time is checked."""


class Sleeper(LLMEngine, Protocol):
    """An engine that can free its GPU memory and take it again."""

    async def sleep(self) -> None:
        """Move the weights to the host's memory and drop the KV cache."""

    async def wake(self) -> None:
        """Take the memory of the GPU again."""


class IdleEngine:
    """Puts an engine to sleep after `after_s` seconds without requests; implements `LLMEngine`."""

    def __init__(
        self, engine: Sleeper, *, after_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.context_tokens = engine.context_tokens
        self._engine = engine
        self._after_s = after_s
        self._clock = clock
        self._last_use = clock()
        self._in_use = 0
        self._asleep = False
        # Locked while the engine falls asleep or wakes, so that no request comes in between.
        self._turning = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the engine, awake."""
        await self._engine.start()
        self._last_use = self._clock()
        self._watch = asyncio.create_task(self._sleep_when_idle())

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        """Generate like the engine; the first request after a sleep waits until it is awake."""
        self._in_use += 1
        try:
            await self._ensure_awake()
            async with aclosing(self._engine.generate(request)) as events:
                async for event in events:
                    yield event
        finally:
            self._in_use -= 1
            self._last_use = self._clock()

    async def count_tokens(
        self, messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()
    ) -> int:
        """Count the tokens. This needs no weights, so the engine is not woken."""
        return await self._engine.count_tokens(messages, tools)

    async def health(self) -> EngineHealth:
        """Report ready while asleep, because the next request wakes the engine."""
        return await self._engine.health()

    async def close(self) -> None:
        """Close the engine, asleep or awake. Idempotent."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._engine.close()

    @property
    def asleep(self) -> bool:
        """Whether its weights are off the GPU."""
        return self._asleep

    async def _ensure_awake(self) -> None:
        async with self._turning:
            if self._asleep:
                began = self._clock()
                await self._engine.wake()
                self._asleep = False
                logger.info("woke after %.1f s", self._clock() - began)

    async def _sleep_when_idle(self) -> None:
        while True:
            await asyncio.sleep(self._after_s / CHECKS)
            async with self._turning:
                idle_s = self._clock() - self._last_use
                if not self._in_use and not self._asleep and idle_s >= self._after_s:
                    await self._engine.sleep()
                    self._asleep = True
                    logger.info("sleeps after %.0f s without work", idle_s)
