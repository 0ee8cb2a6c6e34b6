"""A checkpoint that is not what its entry says is refused before its weights load."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.catalog import Model, load_catalog
from models.errors import CatalogError, WeightsError
from models.quantization import check_checkpoint

SMOLLM2 = {
    "num_hidden_layers": 30,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
}


def entry(quantization: str) -> Model:
    model = load_catalog().get("smollm2-135m-instruct-bf16")
    return model.model_copy(update={"quantization": quantization})


def checkpoint(folder: Path, **more: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({**SMOLLM2, **more}))
    return folder


@pytest.mark.parametrize(
    ("quantization", "method"),
    [
        ("awq", "awq"),
        ("gptq", "gptq"),
        ("gptq", "gptq_marlin"),
        ("fp8", "fbgemm_fp8"),
        ("compressed-tensors", "compressed-tensors"),
    ],
)
def test_a_checkpoint_of_the_entry_s_method_passes(
    tmp_path: Path, quantization: str, method: str
) -> None:
    folder = checkpoint(tmp_path, quantization_config={"quant_method": method})
    check_checkpoint(entry(quantization), folder)


def test_plain_weights_pass_under_a_plain_entry(tmp_path: Path) -> None:
    check_checkpoint(entry("bfloat16 from Q4_1"), checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("quantization", "more", "complaint"),
    [
        ("awq", {}, "says quantization awq, the checkpoint's config.json says none"),
        ("bfloat16", {"quantization_config": {"quant_method": "gptq"}}, "bfloat16.* says gptq"),
        ("awq", {"quantization_config": {"quant_method": "gptq"}}, "says quantization awq.* gptq"),
        ("bfloat16", {"num_hidden_layers": 32}, "architecture.layers 30.* num_hidden_layers 32"),
        ("bfloat16", {"num_key_value_heads": 9}, "architecture.kv_heads 3.*key_value_heads 9"),
    ],
)
def test_a_mismatch_is_one_line(
    tmp_path: Path, quantization: str, more: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(WeightsError, match=complaint) as caught:
        check_checkpoint(entry(quantization), checkpoint(tmp_path, **more))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "No such file"), ("{", "not JSON"), ("[]", "not an")]
)
def test_a_broken_config_is_one_line(tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=complaint):
        check_checkpoint(entry("awq"), tmp_path)


def test_an_unknown_quantization_in_a_catalogue_names_those_there_are(tmp_path: Path) -> None:
    from models.catalog import CATALOG_FILE

    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG_FILE.read_text().replace("quantization: Q4_1", "quantization: Q3", 1))
    with pytest.raises(CatalogError, match="unknown quantization 'Q3'; known are: float32"):
        load_catalog(path)
