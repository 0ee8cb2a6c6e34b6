"""Says in one line whether a model fits this machine. Called by `tiffin models add`."""

import psutil

from models.catalog import Model
from models.errors import PlacementError
from models.placement.advice import plan_or_advise
from models.placement.arithmetic import Workload
from models.placement.hardware import GB, detect_gpus

CONTEXT_TOKENS = 8192
PARALLEL = 8


def fits_here(model: Model) -> str:
    """Whether it does. An LLM for vLLM is planned alone, with 8 requests of 8,192 tokens."""
    if model.engine != "vllm":
        free = psutil.virtual_memory().available
        fits = "it fits" if model.memory_bytes < free else "it does not fit"
        need = f"it needs about {model.memory_bytes / GB:.2f} GB of memory"
        return f"{need}, and {free / GB:.2f} GB are free here: {fits}"
    gpus = detect_gpus()
    if not gpus:
        weights = f"its weights take {model.weight_bytes / GB:.2f} GB"
        return f"{weights}; no GPU is here: see `tiffin plan --gpus 1x24`"
    assert model.architecture is not None  # noqa: S101  whatever is added has one
    work = Workload(
        service="LargeLLM",
        model=model.name,
        engine=model.engine,
        parameters=model.parameters,
        scheme=model.scheme,
        weight_bytes=model.weight_bytes,
        architecture=model.architecture,
        context_tokens=min(CONTEXT_TOKENS, model.context_tokens),
        parallel=PARALLEL,
    )
    try:
        plan_or_advise([work], gpus)
    except PlacementError as error:
        return f"it does not fit: {error}"
    return f"it fits here, with {PARALLEL} requests of {work.context_tokens} tokens"
