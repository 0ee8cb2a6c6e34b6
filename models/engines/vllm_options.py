"""Options of vLLM beyond its context: GPUs and their memory, adapters, metrics, sleep.

The LLM services make them from the plan; `models.engines.vllm` reads them when it loads.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.errors import AdapterUnknown, WeightsError
from models.placement.arithmetic import BATCHED_TOKENS
from models.vllm_parsers import Parsers

MAX_LORA_RANK = 64


@dataclass(frozen=True)
class VLLMOptions:
    """By default vLLM runs on one device with the KV cache that its requests need.

    - `kv_cache_bytes`: on each GPU. None computes it from the model's config.
    - `memory_share`: the part of the GPU that the engine takes in all. vLLM refuses to start if
      less is free, whatever the size of its KV cache, so it must be the plan's and not vLLM's 0.9.
    - `tensor_parallel`: GPUs over which the model is split.
    - `adapters`: LoRA adapters by the name that requests use.
    - `parsers`: vLLM's parsers for this model. None finds them.
    - `can_sleep`: allocate so that the weights can leave the GPU while the tier is idle.
    """

    kv_cache_bytes: int | None = None
    memory_share: float | None = None
    tensor_parallel: int = 1
    adapters: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    parsers: Parsers | None = None
    can_sleep: bool = False

    def arguments(self, *, on_cpu: bool) -> dict[str, Any]:
        """The options, named as in `AsyncEngineArgs`."""
        arguments: dict[str, Any] = {
            "enable_prefix_caching": True,
            "enable_chunked_prefill": True,
            "disable_log_stats": False,  # needed for the `vllm:*` metrics
        }
        if not on_cpu:
            # The number of tokens for which the plan counted the activations.
            arguments["max_num_batched_tokens"] = BATCHED_TOKENS
        if self.kv_cache_bytes is not None:
            arguments["kv_cache_memory_bytes"] = self.kv_cache_bytes
        if self.memory_share is not None:
            arguments["gpu_memory_utilization"] = self.memory_share
        if self.tensor_parallel > 1:
            arguments["tensor_parallel_size"] = self.tensor_parallel
        if self.adapters:
            arguments |= {
                "enable_lora": True,
                "max_loras": len(self.adapters),
                "max_lora_rank": MAX_LORA_RANK,
            }
        if self.can_sleep and not on_cpu:
            arguments["enable_sleep_mode"] = True
        return arguments

    def lora_request(self, name: str | None) -> Any:  # noqa: ANN401  vLLM carries no types
        """The adapter of that name as vLLM takes it; None for the model itself.

        Raises AdapterUnknown with the adapters there are.
        """
        if name is None:
            return None
        if name not in self.adapters:
            known = ", ".join(self.adapters) or "none"
            raise AdapterUnknown(f"no adapter {name!r} on this tier; it has: {known}")
        from vllm.lora.request import LoRARequest

        return LoRARequest(name, 1 + list(self.adapters).index(name), str(self.adapters[name]))


def check_adapters(adapters: Mapping[str, Path]) -> None:
    """Raise WeightsError for the first that is not a LoRA folder or whose rank is too high."""
    for name, folder in adapters.items():
        try:
            config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
            rank = int(config["r"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"adapter {name}: {folder} has no readable adapter_config.json with a rank"
            raise WeightsError(message) from error
        if not 1 <= rank <= MAX_LORA_RANK:
            raise WeightsError(f"adapter {name}: its rank is {rank}, the limit is {MAX_LORA_RANK}")
