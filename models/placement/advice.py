"""Finds the nearest plans that fit if the requested one does not; each changes one thing.

Called by `tiffin plan` and when a service starts, after the planner has refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from models.architecture import SCHEMES, weight_bytes
from models.errors import PlacementError
from models.placement.arithmetic import Workload
from models.placement.hardware import Gpu
from models.placement.planner import DoesNotFit, Plan, make_plan

CONTEXT_STEP = 256
MAX_MORE_GPUS = 8


def plan_or_advise(works: Sequence[Workload], gpus: Sequence[Gpu]) -> Plan:
    """The plan. Raises DoesNotFit, which says in one line what is too large and what would fit."""
    try:
        return make_plan(works, gpus)
    except DoesNotFit as error:
        ways = alternatives(works, gpus, error.work)
        nearest = "; or ".join(ways) if ways else "no single change is enough"
        raise DoesNotFit(f"{error}. What fits: {nearest}", error.work) from None


def alternatives(works: Sequence[Workload], gpus: Sequence[Gpu], refused: Workload) -> list[str]:
    """Changes to the refused model or to the hardware, each of which makes everything fit."""
    found = []
    if refused.engine == "vllm":
        found += _less(works, gpus, refused)
        found += _quantized(works, gpus, refused)
    return found + _more_gpus(works, gpus)


def _less(works: Sequence[Workload], gpus: Sequence[Gpu], refused: Workload) -> list[str]:
    found = []
    steps = refused.context_tokens // CONTEXT_STEP
    if best := _largest(
        steps,
        lambda n: _fits(works, gpus, refused, refused.asking(context_tokens=n * CONTEXT_STEP)),
    ):
        found.append(f"a context of {best * CONTEXT_STEP} tokens")
    if best := _largest(
        refused.parallel - 1, lambda n: _fits(works, gpus, refused, refused.asking(parallel=n))
    ):
        found.append(f"{best} requests at once")
    return found


def _quantized(works: Sequence[Workload], gpus: Sequence[Gpu], refused: Workload) -> list[str]:
    for name in ("fp8", "awq"):
        scheme = SCHEMES[name]
        size = weight_bytes(refused.parameters, scheme, refused.architecture)
        if size < refused.weight_bytes:
            smaller = replace(refused, scheme=scheme, weight_bytes=size)
            if _fits(works, gpus, refused, smaller):
                return [f"weights in {name}"]
    return []


def _more_gpus(works: Sequence[Workload], gpus: Sequence[Gpu]) -> list[str]:
    if not gpus:
        return []
    largest = max(gpus, key=lambda gpu: gpu.total_bytes)
    more = list(gpus)
    for count in range(1, MAX_MORE_GPUS + 1):
        number = len(more)
        more.append(replace(largest, index=number, device=f"more-{number}"))
        if _plans(works, more):
            return [f"{count} more GPU{'s' if count > 1 else ''} of {largest.name}"]
    return []


def _largest(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 1 to `limit` that fits, or 0. If n fits, all smaller ones do."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _fits(
    works: Sequence[Workload], gpus: Sequence[Gpu], refused: Workload, instead: Workload
) -> bool:
    return _plans([instead if work is refused else work for work in works], gpus)


def _plans(works: Sequence[Workload], gpus: Sequence[Gpu]) -> bool:
    try:
        make_plan(works, gpus)
    except PlacementError:
        return False
    return True
