"""Turns settings and catalogue into workloads for the planner of `models.placement`.

Called by `tiffin plan` and by the services when they start, so that all come to the same plan, and
by `tiffin deploy render`, which asks a platform for the GPUs.
"""

import math
from dataclasses import replace

from models.catalog import Catalog, Model
from models.errors import PlacementError
from models.placement.arithmetic import Workload
from tiffin.config.serving import EncoderSettings, TierSettings
from tiffin.config.settings import Settings


def workloads(settings: Settings, catalog: Catalog) -> list[Workload]:
    """Every model that can run on a GPU, sized as the settings ask.

    llama.cpp's wheel runs on the CPU, and an encoder may be set to: neither needs a GPU.
    """
    works = []
    for service, section in settings.with_models():
        model = catalog.get(section.model)
        if isinstance(section, TierSettings):
            if model.engine == "vllm":
                asked = {"context_tokens": section.context_tokens, "parallel": section.parallel}
                works.append(_workload(service.name, model, section.gpus, **asked))
        elif section.device != "cpu":
            works.append(_encoder(service.name, model, section))
    return works


def gpus_apart(settings: Settings, catalog: Catalog) -> dict[str, float]:
    """GPUs of one replica of each service that runs a model, if every service runs alone.

    This is its `gpus` setting. If that is 0, vLLM gets one GPU and an encoder none.
    """
    return {
        service.name: section.gpus or float(catalog.get(section.model).engine == "vllm")
        for service, section in settings.with_models()
    }


def gpus_together(settings: Settings, catalog: Catalog) -> int:
    """GPUs that one deployment of all services needs; the planner lets models share them."""
    named = math.ceil(sum(section.gpus for _, section in settings.with_models()))
    return named or int(any(gpus_apart(settings, catalog).values()))


def _encoder(service: str, model: Model, settings: EncoderSettings) -> Workload:
    # On a GPU the engine loads encoders in float16, whatever format they are stored in.
    work = _workload(
        service,
        model,
        settings.gpus,
        context_tokens=model.context_tokens,
        parallel=1,
        step_tokens=settings.max_batch_tokens,
    )
    return replace(work, weight_bytes=2 * model.parameters, number_bytes=2)


def _workload(service: str, model: Model, gpus: float, **asked: int) -> Workload:
    if model.architecture is None or not model.weight_bytes:
        message = (
            f"{model.name} has no architecture or no weight sizes in the catalogue: not plannable"
        )
        raise PlacementError(message)
    return Workload(
        service=service,
        model=model.name,
        engine=model.engine,
        parameters=model.parameters,
        scheme=model.scheme,
        weight_bytes=model.weight_bytes,
        architecture=model.architecture,
        number_bytes=4 if model.scheme.name == "float32" else 2,
        gpus=gpus or None,
        **asked,
    )
