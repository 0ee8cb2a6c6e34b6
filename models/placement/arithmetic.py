"""What one model takes of each of its GPUs: weights, KV cache, activations, fixed costs.

Called by `models.placement.planner`. docs/planning.md derives each formula, with sources.
"""

from dataclasses import dataclass, replace

from models.architecture import Architecture, Scheme
from models.catalog import Engine

MIB = 1 << 20

CUDA_CONTEXT_BYTES = 500 * MIB
"""The driver context, cuBLAS workspace and loaded kernels of one process on one GPU."""

CUDA_GRAPH_BYTES = 600 * MIB
"""The CUDA graphs that vLLM captures at start, one for each batch size."""

NCCL_BYTES = 400 * MIB
"""Communication buffers of each GPU in a tensor-parallel group."""

BATCHED_TOKENS = 8192
"""The most tokens that vLLM computes in one step (`max_num_batched_tokens`)."""

BLOCK_TOKENS = 128
"""The largest block in which vLLM allocates its KV cache; each request may leave one unfilled."""


@dataclass(frozen=True)
class Workload:
    """One model as a service runs it.

    `gpus` is a share of one card below 1, a number of whole cards from 1 on, and None to let the
    planner choose. There is room for `parallel` requests of `context_tokens` tokens at once.
    """

    service: str
    model: str
    engine: Engine
    parameters: int
    scheme: Scheme
    weight_bytes: int
    architecture: Architecture
    context_tokens: int
    parallel: int
    step_tokens: int = BATCHED_TOKENS
    number_bytes: int = 2
    gpus: float | None = None

    def asking(
        self, *, context_tokens: int | None = None, parallel: int | None = None
    ) -> "Workload":
        """The same model with a smaller or larger context, or fewer or more requests at once."""
        return replace(
            self,
            context_tokens=context_tokens or self.context_tokens,
            parallel=parallel or self.parallel,
        )


@dataclass(frozen=True)
class Need:
    """Bytes on each GPU of the model's tensor-parallel group."""

    weights: int
    kv_cache: int
    activations: int
    fixed: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv_cache + self.activations + self.fixed


def need(work: Workload, degree: int = 1) -> Need:
    """What the model takes of each of `degree` GPUs."""
    shape = work.architecture
    is_llm = work.engine != "sentence-transformers"
    fixed = CUDA_CONTEXT_BYTES
    if work.engine == "vllm":
        fixed += CUDA_GRAPH_BYTES + (NCCL_BYTES if degree > 1 else 0)
    return Need(
        weights=-(-work.weight_bytes // degree),
        kv_cache=kv_cache_bytes(
            shape, work.context_tokens * work.parallel, work.number_bytes, degree
        )
        if is_llm
        else 0,
        activations=activation_bytes(
            shape,
            step_tokens=work.step_tokens,
            sequences=work.parallel if is_llm else 0,
            number_bytes=work.number_bytes,
            degree=degree,
        ),
        fixed=fixed,
    )


def kv_cache_bytes(shape: Architecture, tokens: int, number_bytes: int, degree: int = 1) -> int:
    """Keys and values of this many tokens on each of `degree` GPUs, rounded up to vLLM's blocks.

    A token takes 2 (key and value) * layers * KV heads * head size numbers. A GPU holds its share
    of the KV heads and never less than one.
    """
    heads = max(1, shape.kv_heads // degree)
    return whole_blocks(tokens) * 2 * shape.layers * heads * shape.head_dim * number_bytes


def whole_blocks(tokens: int) -> int:
    """The tokens in the blocks that vLLM allocates for this many, and one block more."""
    return (-(-tokens // BLOCK_TOKENS) + 1) * BLOCK_TOKENS


def activation_bytes(
    shape: Architecture, *, step_tokens: int, sequences: int, number_bytes: int, degree: int
) -> int:
    """The peak of one step: the tensors of one layer at a time, and the logits at the end.

    Four tensors as wide as the residual stream (residual, norm, attention in and out), three as
    wide as the feed-forward (gate, up, product), split over the GPUs; for each sequence the logits
    in the model's format and three float32 copies of the sampler.
    """
    stream = 4 * shape.hidden + 3 * shape.intermediate // degree
    logits = sequences * shape.vocab * (number_bytes + 3 * 4)
    return step_tokens * stream * number_bytes + logits
