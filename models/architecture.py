"""What a model is made of, as far as its memory depends on it: shape and number formats.

Read from a catalogue entry or from the words of a user; used by `models.placement` to plan memory
and by `models.quantization` to hold a checkpoint against its entry.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, PositiveInt


class Architecture(BaseModel):
    """The sizes of a transformer, under the names that `config.json` gives them, shortened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: PositiveInt
    hidden: PositiveInt
    intermediate: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    vocab: PositiveInt

    def splits_into(self, degree: int) -> bool:
        """Say whether tensor parallelism can cut the model in `degree` parts, as vLLM demands.

        The attention heads are dealt out evenly; KV heads too, or each is held more than once.
        """
        kv_fits = self.kv_heads % degree == 0 or degree % self.kv_heads == 0
        return self.heads % degree == 0 and kv_fits


@dataclass(frozen=True)
class Scheme:
    """A number format of weights: what one weight takes, and which weights it covers.

    `engine_name` is what vLLM calls it, empty where the weights are plain numbers. In a scheme that
    is `linear_only` the embedding and the output head stay in 16 bits.
    """

    name: str
    bits: float
    linear_only: bool = False
    engine_name: str = ""


# Scales cost bits as well: AWQ and GPTQ keep a 16-bit scale and a 4-bit zero for 128 weights. The
# figures of GGUF are llama.cpp's own, from the block layouts of each type (mixed types: averages).
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

    Raises ValueError with the names there are.
    """
    name = text.split(" ", maxsplit=1)[0]
    scheme = SCHEMES.get(ALIASES.get(name, name))
    if scheme is None:
        message = f"unknown quantization {name!r}; known are: {', '.join(SCHEMES)}"
        raise ValueError(message)
    return scheme


def weight_bytes(parameters: int, scheme: Scheme, architecture: Architecture | None = None) -> int:
    """Memory for so many weights. Without an architecture the embedding counts as the rest does."""
    if not scheme.linear_only or architecture is None:
        return round(parameters * scheme.bits / 8)
    plain = min(parameters, 2 * architecture.vocab * architecture.hidden)
    return round((parameters - plain) * scheme.bits / 8 + plain * 2)
