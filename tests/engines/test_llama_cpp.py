"""llama.cpp for real, with SmolLM2: the contract of every engine, and how its tokens come."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from models.catalog import load_catalog
from models.engines.llama_cpp import LlamaCppEngine
from models.engines.llama_cpp_generation import WAKE_EVERY_S, Generation
from models.engines.protocol import LLMEngine
from models.errors import ModelError
from models.store import Store
from models.values import Finished, TextDelta, TokenEvent
from tests.engines.contract import STORIES
from tiffin.config.settings import load_settings

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncGenerator[LlamaCppEngine, None]:
    folder = Store(load_settings().home).path(load_catalog().get("smollm2-135m-instruct"))
    engine = LlamaCppEngine(next(folder.glob("*.gguf")), context_tokens=1024, parallel=2, threads=2)
    await engine.start()
    yield engine
    await engine.close()
    await engine.close()
    assert not (await engine.health()).ready


@pytest.mark.parametrize("story", STORIES)
async def test_contract(engine: LLMEngine, story: Callable[[LLMEngine], Awaitable[None]]) -> None:
    await story(engine)


class Writer:
    """Writes a token each so many seconds, without a model."""

    def __init__(self, tokens: int, every_s: float) -> None:
        self.tokens, self.every_s = tokens, every_s

    def handle_chat_completions(
        self, _: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> None:
        for token in range(self.tokens):
            choice = {"delta": {"content": f"{token} "}, "finish_reason": None}
            callback({"choices": [choice]})
            time.sleep(self.every_s)
        details = {"prompt_tokens_details": {"cached_tokens": 0}}
        callback({"usage": {"prompt_tokens": 1, "completion_tokens": self.tokens, **details}})

    handle_completions = handle_chat_completions


async def wakings(writer: Writer) -> tuple[list[list[TokenEvent | ModelError]], float]:
    """What each waking of the event loop brought, and how many seconds it all took."""
    generation = Generation({"messages": []}, 0)
    brought: list[list[TokenEvent | ModelError]] = []
    setattr(generation, "_take", brought.append)  # noqa: B010  in place of its own
    began = time.monotonic()
    await asyncio.to_thread(generation.run, writer)
    took_s = time.monotonic() - began
    await asyncio.sleep(0)  # the last one is on its way
    events = [event for events in brought for event in events]
    assert events[:-1] == [TextDelta(f"{token} ") for token in range(writer.tokens)]
    assert isinstance(events[-1], Finished)
    return brought, took_s


async def test_tokens_that_come_fast_come_together() -> None:
    brought, took_s = await wakings(Writer(200, every_s=0.001))
    assert len(brought[0]) == 1, "the first token waits for none"
    assert len(brought) <= took_s / WAKE_EVERY_S + 2


async def test_a_token_that_nothing_follows_soon_waits_for_nothing() -> None:
    brought, _ = await wakings(Writer(4, every_s=1.5 * WAKE_EVERY_S))
    assert [len(events) for events in brought] == [1] * 5
