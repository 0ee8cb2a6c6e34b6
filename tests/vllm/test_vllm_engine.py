"""vLLM for real, on the CPU, with SmolLM2: the contract of every engine, and its own troubles."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from models.catalog import load_catalog
from models.engines.protocol import LLMEngine
from models.engines.vllm import VLLMEngine
from models.errors import EngineFailed, NotSupported
from models.store import Store
from models.values import TokenEvent
from tests.engines.contract import ENDLESS, STORIES, answer, ask
from tiffin.config.settings import load_settings

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("default"),  # vLLM imports what torch has deprecated
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncGenerator[VLLMEngine, None]:
    model = load_catalog().get("smollm2-135m-instruct-bf16")
    folder = Store(load_settings().home).pull(model)
    engine = VLLMEngine(folder, context_tokens=1024, parallel=4)
    await engine.start()
    yield engine
    await engine.close()
    await engine.close()
    assert not (await engine.health()).ready


@pytest.mark.parametrize("story", STORIES)
async def test_contract(engine: LLMEngine, story: Callable[[LLMEngine], Awaitable[None]]) -> None:
    await story(engine)


async def test_a_prompt_seen_before_needs_no_second_prefill(engine: VLLMEngine) -> None:
    request = ask("A long question. " * 30, max_tokens=1)
    for _ in range(2):
        events = [event async for event in engine.generate(request)]
    assert events[-1].usage.cached_tokens > 100  # type: ignore[union-attr]


async def test_an_end_amid_the_json_is_no_end_but_by_a_stop_string(engine: VLLMEngine) -> None:
    """Llguidance gives up on so many lengths after the first letters: vLLM then ends the answer."""
    lengths = {"anyOf": [{"type": "string", "maxLength": most} for most in range(1, 401)]}
    request = ask("Write JSON.", json_schema=lengths, stop=["not in it"])
    with pytest.raises(NotSupported, match="too complex"):
        await answer(engine, request)
    object_ = {"type": "object", "properties": {"a": {"const": "bcd"}}, "required": ["a"]}
    text, finished, _ = await answer(engine, ask("JSON!", json_schema=object_, stop=["d"]))
    assert (text, finished.reason) == ('{"a": "bc', "stop")


async def test_where_no_gpu_is_seen_the_error_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the image for GPUs, started without `--gpus`."""
    from vllm.platforms import current_platform

    monkeypatch.setattr(current_platform, "device_type", "")
    with pytest.raises(EngineFailed, match="it sees no GPU here"):
        await VLLMEngine(tmp_path, context_tokens=1024, parallel=1).start()


async def _drain(events: AsyncGenerator[TokenEvent, None]) -> None:
    async for _ in events:
        pass


async def test_a_killed_engine_is_an_error_in_the_open_stream_and_not_ready(
    engine: VLLMEngine,
) -> None:
    """The last test of the module: nothing of the engine is left after it."""
    events = engine.generate(ask(ENDLESS, max_tokens=900))
    await anext(events)
    for child in psutil.Process().children(recursive=True):
        if "EngineCore" in child.name() or "EngineCore" in " ".join(child.cmdline()):
            child.kill()
    with pytest.raises(EngineFailed):
        await asyncio.wait_for(_drain(events), 5)
    health = await engine.health()
    assert (health.ready, health.detail) == (False, "vLLM's engine died")
