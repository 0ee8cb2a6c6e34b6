"""The settings of what Tiffin serves itself: the two encoders and the LLM tiers."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tiffin.config.routing import TierCard
from tiffin.config.section import Count, Section

Threads = Annotated[
    int | None, Field(ge=1, description="CPU threads; if unset, as many as there are idle cores.")
]
Gpus = Annotated[
    float, Field(ge=0, description="GPUs, or a share of one below 1; 0 lets the planner choose.")
]


class EncoderSettings(Section):
    """Embedding or Reranker."""

    model: str
    """Name in models/catalog.yaml."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU if there is one."""
    gpus: Gpus = 0
    threads: Threads = None
    workers: Count = 1
    """Processes, each with its own copy of the model."""
    max_batch_tokens: Annotated[int, Field(ge=256)] = 4096
    """Tokens in one forward pass, padding included."""
    max_queue_tokens: Annotated[int, Field(ge=1024)] = 262_144
    """Tokens that may wait; more are refused with 503."""


class TierSettings(TierCard):
    """One LLM tier that Tiffin serves itself."""

    model: str
    """Name in models/catalog.yaml."""
    context_tokens: Annotated[int, Field(ge=256)] = 4096
    """Tokens of prompt and answer together in one request."""
    parallel: Count = 2
    """Generations that run at once."""
    max_queue: Annotated[int, Field(ge=0)] = 32
    """Generations that may wait; more are refused with 503."""
    threads: Threads = None
    gpus: Gpus = 0
    adapters: dict[str, Path] = Field(default_factory=dict)
    """LoRA adapters on vLLM: the folder of each name."""
    sleep_after_s: Annotated[float | None, Field(gt=0)] = None
    """On a GPU: free its memory after this long without requests."""
