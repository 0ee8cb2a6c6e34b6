"""Checks by its config.json that a checkpoint is what its catalogue entry says.

Called by the LLM services before an engine loads weights, because vLLM notices a difference minutes
later, if at all.
"""

import json
from pathlib import Path
from typing import Any

from models.architecture import Architecture
from models.catalog import Model
from models.errors import WeightsError

# Other names that checkpoints use for a scheme.
_METHODS = {"awq_marlin": "awq", "gptq_marlin": "gptq", "fbgemm_fp8": "fp8"}

_CONFIG_KEYS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "intermediate": "intermediate_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "vocab": "vocab_size",
}


def check_checkpoint(model: Model, folder: Path) -> None:
    """Raise WeightsError with the first difference between config.json and the entry."""
    config = _read(model, folder)
    expected = model.scheme.engine_name
    found = quantization_of(config)
    if found != expected:
        message = (
            f"{model.name}: the catalogue says quantization {model.scheme.name}, "
            f"the checkpoint's config.json says {found or 'none'}"
        )
        raise WeightsError(message)
    if model.architecture is not None:
        _check_shape(model.name, config, model.architecture)


def is_quantized(folder: Path) -> bool:
    """Whether the checkpoint's weights are anything but plain numbers."""
    return bool(quantization_of(_config(folder)))


def has_4_bits(folder: Path) -> bool:
    """Whether the checkpoint's linear layers have 4 bits: AWQ, GPTQ or packed integers."""
    config = _config(folder)
    packed = _section(config).get("format") == "pack-quantized"
    return packed or quantization_of(config) in {"awq", "gptq"}


def quantization_of(config: dict[str, Any]) -> str:
    """The quantization method of a config.json under vLLM's name; empty for plain weights."""
    method = str(_section(config).get("quant_method", "")).lower().replace("_", "-")
    return _METHODS.get(method.replace("-", "_"), method)


def _section(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("quantization_config") or config.get("compression_config") or {}


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _check_shape(name: str, config: dict[str, Any], shape: Architecture) -> None:
    for field, key in _CONFIG_KEYS.items():
        default = config.get("num_attention_heads") if field == "kv_heads" else None
        found, expected = config.get(key, default), getattr(shape, field)
        if found != expected:
            message = (
                f"{name}: the catalogue says architecture.{field} {expected}, "
                f"the checkpoint's config.json says {key} {found}"
            )
            raise WeightsError(message)


def _read(model: Model, folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{model.name}: config.json: {error.strerror}") from error
    except ValueError as error:
        raise WeightsError(f"{model.name}: config.json is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{model.name}: config.json is not an object")
    return config
