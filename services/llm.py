"""SmallLLM and LargeLLM: one LLM engine each, behind the same methods."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar

import bentoml

from models.engines.idle import IdleEngine
from models.engines.protocol import LLMEngine
from models.engines.vllm_options import VLLMOptions, check_adapters
from models.placement.launch import Budget
from models.placement.planner import Placement
from models.quantization import check_checkpoint
from models.user_catalog import catalog_of
from models.values import GenerateRequest, TokenEvent
from services import hosting, placing
from services.hosting import settings
from tiffin.config.section import SettingsError
from tiffin.config.serving import TierSettings
from tiffin.core.context import RequestContext
from tiffin.core.messages import ServiceHealth, TokenCount
from tiffin.transport.server import RpcApp


def build_engine(tier: TierSettings, placed: Placement | None, budget: Budget | None) -> LLMEngine:
    """The engine that the tier's model names in the catalogue, in its place and its budget."""
    model = catalog_of(settings.home).get(tier.model)
    directory = hosting.weights(tier.model)
    if model.engine == "vllm":
        from models.engines.vllm import VLLMEngine

        check_checkpoint(model, directory)
        check_adapters(tier.adapters)
        engine = VLLMEngine(
            directory,
            context_tokens=tier.context_tokens,
            parallel=tier.parallel,
            options=replace(vllm_options(tier, placed, budget), parsers=model.vllm_parsers),
        )
        if tier.sleep_after_s is None or placed is None:
            return engine
        return IdleEngine(engine, after_s=tier.sleep_after_s)
    from models.engines.cores import free_cores
    from models.engines.llama_cpp import LlamaCppEngine

    return LlamaCppEngine(
        next(directory.glob("*.gguf")),
        context_tokens=tier.context_tokens,
        parallel=tier.parallel,
        threads=tier.threads or free_cores(),
    )


def vllm_options(
    tier: TierSettings, placed: Placement | None, budget: Budget | None
) -> VLLMOptions:
    """What the plan means to vLLM; on a CPU it sizes itself by the tier's settings."""
    if placed is None or budget is None:
        return VLLMOptions(adapters=tier.adapters)
    return VLLMOptions(
        kv_cache_bytes=budget.kv_cache_bytes,
        memory_share=budget.claim_bytes / placed.gpus[0].total_bytes,
        tensor_parallel=placed.degree,
        adapters=tier.adapters,
        can_sleep=tier.sleep_after_s is not None,
    )


class _LLM:
    """What both tiers share. Inherited, because BentoML finds hooks on the class."""

    tier: ClassVar[str]
    rpc: ClassVar[RpcApp]

    def __init__(self) -> None:
        tier = settings.tiers.get(self.tier)
        if tier is None:
            served = ", ".join(settings.tiers)
            message = f"profile {settings.profile} has no {self.tier} tier; it has: {served}"
            raise SettingsError(message)
        self.settings = tier
        self.placed = placing.take_place(type(self).__name__)

    @bentoml.on_startup
    async def start(self) -> None:
        """Load the weights before the first request, while no other engine is loading."""
        with await asyncio.to_thread(self._turn), placing.measured(self.placed) as budget:
            began = time.monotonic()
            self.engine = build_engine(self.settings, self.placed, budget)
            await self.engine.start()
            hosting.log_loaded(type(self).__name__, began)
        self.rpc.stream("generate", GenerateRequest, self.generate)
        self.rpc.unary("count_tokens", GenerateRequest, self.count_tokens)
        self.rpc.health(self.health)
        hosting.log_ready(type(self).__name__)

    def _turn(self) -> ExitStack:
        """llama.cpp on the CPU sizes nothing by what is free, so it need not wait for a turn."""
        if catalog_of(settings.home).get(self.settings.model).engine == "llama.cpp":
            return ExitStack()
        return placing.turn(self.placed)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Free the engine."""
        await self.engine.close()

    def generate(
        self, request: GenerateRequest, _: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        """Stream the answer; if the caller leaves, the engine stops."""
        return self.engine.generate(request)

    async def count_tokens(self, request: GenerateRequest, _: RequestContext) -> TokenCount:
        """How many tokens the prompt of this request is."""
        return TokenCount(await self.engine.count_tokens(request.messages, request.tools))

    async def health(self) -> ServiceHealth:
        """The engine's own report."""
        health = await self.engine.health()
        return ServiceHealth(ready=health.ready, detail=health.detail)


def _rpc(service: str, tier: str) -> RpcApp:
    """As many requests in flight as the tier generates at once, and as may wait for it."""
    limits = settings.tiers.get(tier)
    return hosting.rpc_app(
        service, max_in_flight=limits.parallel + limits.max_queue if limits else 1
    )


def _gpus(tier: str) -> float:
    return settings.tiers[tier].gpus if tier in settings.tiers else 0


def _model(tier: str) -> str | None:
    return settings.tiers[tier].model if tier in settings.tiers else None


@bentoml.service(
    name="SmallLLM",
    workers=1,
    **hosting.inner(cpu="2", memory="1Gi", gpus=_gpus("small"), concurrency=8),
)
class SmallLLM(_LLM):
    """The cheap tier, asked first."""

    tier = "small"
    rpc = _rpc("SmallLLM", tier)
    bento_model = hosting.bento_model(_model(tier))
    fetch = placing.fetching(_model(tier))


@bentoml.service(
    name="LargeLLM",
    workers=1,
    **hosting.inner(cpu="4", memory="4Gi", gpus=_gpus("large"), concurrency=8),
)
class LargeLLM(_LLM):
    """The capable tier. Started only when the profile has it."""

    tier = "large"
    rpc = _rpc("LargeLLM", tier)
    bento_model = hosting.bento_model(_model(tier))
    fetch = placing.fetching(_model(tier))


LLMS: dict[str, "bentoml.Service[Any]"] = {"SmallLLM": SmallLLM, "LargeLLM": LargeLLM}

for _service in LLMS.values():
    hosting.serve_rpc(_service)
