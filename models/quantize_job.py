"""Quantizes a model in llm-compressor's environment, as a script that imports nothing of ours.

`python quantize_job.py SOURCE TARGET METHOD TEXT REPORT`, called by `models.quantize`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

GROUPS = (128, 64, 32)
WINDOW = 256


def perplexity(model: Any, ids: list[int]) -> float:  # noqa: ANN401  a transformers model
    """The share of tokens for calibration, in windows of 256."""
    losses = []
    with torch.inference_mode():
        for start in range(0, len(ids) - WINDOW // 2, WINDOW):
            window = torch.tensor([ids[start : start + WINDOW]])
            losses.append(model(window, labels=window).loss)
    return float(torch.exp(torch.stack(losses).mean()))


def group_size(model: torch.nn.Module) -> int:
    """The largest group that divides the inputs of every linear layer."""
    widths = [layer.in_features for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    for size in GROUPS:
        if not any(width % size for width in widths):
            return size
    raise SystemExit(f"no group of {GROUPS} divides the layers' inputs")


def recipe(method: str, model: torch.nn.Module) -> Any:  # noqa: ANN401  llm-compressor's types
    """The recipe for llm-compressor."""
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

    if method == "fp8":
        return QuantizationModifier(targets="Linear", scheme="FP8_DYNAMIC", ignore=["lm_head"])
    weights = {
        "num_bits": 4,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": group_size(model),
    }
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    modifier = GPTQModifier if method == "gptq" else QuantizationModifier
    return modifier(config_groups=groups, ignore=["lm_head"])


def main(source: str, target: str, method: str, text: str, report: str) -> None:
    """Quantize, measure before and after, save."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.bfloat16, local_files_only=True
    )
    ids: list[int] = tokenizer(Path(text).read_text(encoding="utf-8")).input_ids
    half = len(ids) // 2
    before = perplexity(model, ids[half:])
    asked: dict[str, Any] = {"model": model, "recipe": recipe(method, model)}
    if method == "gptq":
        rows = [ids[start : start + WINDOW] for start in range(0, half, WINDOW)]
        asked["dataset"] = Dataset.from_dict(
            {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
        )
        asked |= {"num_calibration_samples": len(rows), "max_seq_length": WINDOW}
    oneshot(**asked)
    after = perplexity(model, ids[half:])
    model.save_pretrained(target, save_compressed=True)
    tokenizer.save_pretrained(target)
    measured = {"before": before, "after": after, "tokens": len(ids) - half}
    Path(report).write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
