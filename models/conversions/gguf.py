"""Recipe dequantise-gguf: a quantised GGUF file becomes a bfloat16 transformers folder for vLLM.

vLLM cannot read GGUF by itself, and transformers leaves GGUF weights packed by default.
"""

from importlib.util import find_spec
from pathlib import Path

from models.errors import WeightsError


def dequantise(source: Path, target: Path) -> None:
    """Write config, tokenizer, chat template and `model.safetensors` of the only GGUF file."""
    (weights,) = source.glob("*.gguf")
    # transformers would ask for them later and less clearly.
    if missing := [name for name in ("gguf", "accelerate") if find_spec(name) is None]:
        message = (
            f"converting {weights.name} needs {' and '.join(missing)}, "
            "which the extras vllm and vllm-cpu install"
        )
        raise WeightsError(message)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=weights.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source, gguf_file=weights.name).save_pretrained(target)
