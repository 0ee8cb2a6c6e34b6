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

    model: Annotated[str, Field(description="Name in models/catalog.yaml.")]
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="`auto` takes a GPU if there is one.")
    ] = "auto"
    gpus: Gpus = 0
    threads: Threads = None
    workers: Annotated[
        Count, Field(description="Processes, each with its own copy of the model.")
    ] = 1
    max_batch_tokens: Annotated[
        int, Field(ge=256, description="Tokens in one forward pass, padding included.")
    ] = 4096
    max_queue_tokens: Annotated[
        int, Field(ge=1024, description="Tokens that may wait; more are refused with 503.")
    ] = 262_144


class TierSettings(TierCard):
    """One LLM tier that Tiffin serves itself."""

    model: Annotated[str, Field(description="Name in models/catalog.yaml.")]
    context_tokens: Annotated[
        int, Field(ge=256, description="Tokens of prompt and answer together in one request.")
    ] = 4096
    parallel: Annotated[Count, Field(description="Generations that run at once.")] = 2
    max_queue: Annotated[
        int, Field(ge=0, description="Generations that may wait; more are refused with 503.")
    ] = 32
    threads: Threads = None
    gpus: Gpus = 0
    adapters: Annotated[
        dict[str, Path], Field(description="LoRA adapters on vLLM: the folder of each name.")
    ] = Field(default_factory=dict)
    sleep_after_s: Annotated[
        float | None,
        Field(gt=0, description="On a GPU: free its memory after this long without requests."),
    ] = None
