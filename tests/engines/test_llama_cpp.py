"""llama.cpp for real, with SmolLM2: the contract of every engine."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import pytest_asyncio

from models.catalog import load_catalog
from models.engines.llama_cpp import LlamaCppEngine
from models.engines.protocol import LLMEngine
from models.store import Store
from tests.engines.contract import STORIES
from tiffin.ops.settings import load_settings

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
