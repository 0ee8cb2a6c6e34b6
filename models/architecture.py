"""The parts of a model that its memory depends on: shape and number formats.

They are read from a catalogue entry or a user's description. `models.placement` plans memory with
them, and `models.quantization` compares a checkpoint with its entry.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, PositiveInt


class Architecture(BaseModel):
    """The sizes of a transformer, under shortened forms of the names in `config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: PositiveInt
    hidden: PositiveInt
    intermediate: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    vocab: PositiveInt

    def splits_into(self, degree: int) -> bool:
        """Whether tensor parallelism can split the model into `degree` parts, as vLLM requires.

        The attention heads are divided evenly, and so are KV heads unless each is replicated.
        """
        kv_fits = self.kv_heads % degree == 0 or degree % self.kv_heads == 0
        return self.heads % degree == 0 and kv_fits


@dataclass(frozen=True)
class Scheme:
    """A number format of weights: the size of one weight, and which weights it covers.

    `engine_name` is vLLM's name for it, empty if the weights are plain numbers. In a scheme that is
    `linear_only` the embedding and the output head stay in 16 bits.
    """

    name: str
    bits: float
    linear_only: bool = False
    engine_name: str = ""


# Scales take bits as well: AWQ and GPTQ have a 16-bit scale and a 4-bit zero for 128 weights. The
# figures for GGUF follow from llama.cpp's block layout of each type; mixed types are averages.
SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("float32", 32),
        Scheme("float16", 16),
        Scheme("bfloat16", 16),
        Scheme("int8", 8),
        Scheme("int4", 4),
        Scheme("fp8", 8, linear_only=True, engine_name="fp8"),
        Scheme("awq", 4 + 20 / 128, linear_only=True, engine_name="awq"),
        Scheme("gptq", 4 + 20 / 128, linear_only=True, engine_name="gptq"),
        Scheme("compressed-tensors", 8, linear_only=True, engine_name="compressed-tensors"),
        Scheme("Q4_0", 4.5),
        Scheme("Q4_1", 5.0),
        Scheme("Q4_K_M", 4.85),
        Scheme("Q5_K_M", 5.7),
        Scheme("Q6_K", 6.56),
        Scheme("Q8_0", 8.5),
        Scheme("F16", 16),
    )
}

ALIASES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def scheme_named(text: str) -> Scheme:
    """The scheme that an entry's `quantization` begins with, as in `bfloat16 from Q4_1`.

    Raises ValueError, which lists the known names.
    """
    name = text.split(" ", maxsplit=1)[0]
    scheme = SCHEMES.get(ALIASES.get(name, name))
    if scheme is None:
        raise ValueError(f"unknown quantization {name!r}; known are: {', '.join(SCHEMES)}")
    return scheme


def weight_bytes(parameters: int, scheme: Scheme, architecture: Architecture | None = None) -> int:
    """Memory for this many weights. Without an architecture the embedding counts like the rest."""
    if not scheme.linear_only or architecture is None:
        return round(parameters * scheme.bits / 8)
    plain = min(parameters, 2 * architecture.vocab * architecture.hidden)
    return round((parameters - plain) * scheme.bits / 8 + plain * 2)
