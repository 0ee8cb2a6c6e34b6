"""Small checkpoints of few bits for tests: a real model's linear layers, rounded to the nearest.

Written in the layouts of AutoAWQ, AutoGPTQ, compressed-tensors (8-bit floats, a scale for each
channel) and vLLM's own FP8, as vLLM reads them. No calibration: quality is not the point, the
format is. `bench/gpu_checks.py` takes FP8 from here.
"""

import json
import shutil
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file

Method = Literal["awq", "gptq", "compressed-tensors", "fp8"]

GROUP = 64
BITS = 4
PER_INT32 = 32 // BITS
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
SYMMETRIC_ZERO = 8


def quantize(source: Path, target: Path, method: Method) -> Path:
    """Write a copy of a Hugging Face folder whose linear layers have 4 bits, or 8."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors", "*manifest*"))
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            tensors |= _packed(name.removesuffix(".weight"), tensor.float(), method)
        else:
            tensors[name] = tensor
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = _section(method)
    (target / "config.json").write_text(json.dumps(config))
    return target


def _section(method: Method) -> dict[str, object]:
    if method == "fp8":
        return {"quant_method": "fp8", "activation_scheme": "dynamic"}
    if method == "compressed-tensors":
        float8 = {"num_bits": 8, "type": "float", "symmetric": True}
        group = {
            "targets": ["Linear"],
            "weights": {**float8, "strategy": "channel", "dynamic": False},
            "input_activations": {**float8, "strategy": "token", "dynamic": True},
        }
        return {
            "quant_method": "compressed-tensors",
            "format": "float-quantized",
            "quantization_status": "compressed",
            "config_groups": {"group_0": group},
            "ignore": ["lm_head"],
        }
    if method == "awq":
        return {
            "quant_method": "awq",
            "bits": BITS,
            "group_size": GROUP,
            "zero_point": True,
            "version": "gemm",
        }
    return {
        "quant_method": "gptq",
        "bits": BITS,
        "group_size": GROUP,
        "sym": True,
        "desc_act": False,
    }


def _packed(name: str, weight: torch.Tensor, method: Method) -> dict[str, torch.Tensor]:
    """`weight` is [out, in]; the 4-bit formats keep it transposed."""
    if method in {"compressed-tensors", "fp8"}:
        largest = weight.abs().amax(1, keepdim=True) if method != "fp8" else weight.abs().max()
        scale = largest / torch.finfo(torch.float8_e4m3fn).max
        values = (weight / scale).to(torch.float8_e4m3fn)
        return {f"{name}.weight": values, f"{name}.weight_scale": scale}
    out_size, in_size = weight.shape
    groups = weight.T.reshape(in_size // GROUP, GROUP, out_size)
    scales = groups.abs().amax(1) / (SYMMETRIC_ZERO - 1)
    steps = (groups / scales[:, None]).round() + SYMMETRIC_ZERO
    steps = steps.clamp(0, 15).to(torch.int32).reshape(in_size, out_size)
    zeros = torch.full((in_size // GROUP, out_size), SYMMETRIC_ZERO, dtype=torch.int32)
    parts = {"scales": scales.half()}
    if method == "awq":
        parts |= {"qweight": _pack(_awq_order(steps)), "qzeros": _pack(_awq_order(zeros))}
    else:
        parts |= {
            "qweight": _pack(steps.T.contiguous()).T.contiguous(),
            "qzeros": _pack(zeros - 1),  # the format's own: one less than meant
            "g_idx": torch.arange(in_size, dtype=torch.int32) // GROUP,
        }
    return {f"{name}.{part}": tensor.contiguous() for part, tensor in parts.items()}


def _awq_order(rows: torch.Tensor) -> torch.Tensor:
    order = torch.tensor(AWQ_ORDER)
    return rows.reshape(rows.shape[0], -1, PER_INT32)[:, :, order].reshape(rows.shape)


def _pack(rows: torch.Tensor) -> torch.Tensor:
    """Eight neighbours of a row into one int32, the first in the lowest bits."""
    parts = rows.reshape(rows.shape[0], -1, PER_INT32).to(torch.int64)
    shifts = torch.arange(PER_INT32) * BITS
    packed = (parts << shifts).sum(-1)
    return torch.where(packed >= 1 << 31, packed - (1 << 32), packed).to(torch.int32)
