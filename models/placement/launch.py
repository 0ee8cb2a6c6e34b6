"""Starts engines on a GPU one after the other, each within the memory that is really free.

Two engines that start together on one GPU measure each other's loading and mis-size themselves or
crash. So each start takes the lock of every GPU it uses, measures, loads, and measures again.
Called by the services.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from models.errors import PlacementError
from models.placement.arithmetic import kv_cache_bytes
from models.placement.hardware import GB, Gpu, free_bytes
from models.placement.planner import Placement

logger = logging.getLogger("bentoml.service.tiffin")

START_LIMIT_S = 1800.0
"""How long an engine waits for earlier ones; loading 140 GB from a disk takes many minutes."""

TOLERANCE = 0.10
"""An engine that takes this much more than planned is reported."""

CPU = "cpu"

Measure = Callable[[Gpu], int | None]


@dataclass(frozen=True)
class Budget:
    """What an engine may take of each of its GPUs, after they were measured.

    `claim_bytes` is what it may ask for once its CUDA context exists: vLLM compares its claim with
    what is free at that moment, and would refuse a claim that counts the context twice.
    """

    kv_cache_bytes: int
    claim_bytes: int


def turn(home: Path, devices: Sequence[str], *, limit_s: float = START_LIMIT_S) -> ExitStack:
    """Wait for the locks of these devices; closing the result frees them. The CPU counts as one.

    Locks are always taken in the same order, so that two engines never wait for each other. They
    belong to the process, so they are freed even if it is killed. This call blocks; an event loop
    runs it in a thread. Raises PlacementError after `limit_s`.
    """
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for device in sorted(set(devices)) or [CPU]:
            # One thread takes the lock and another releases it, so it must belong to the process.
            lock = FileLock(folder / f"device-{device}.lock", thread_local=False)
            try:
                lock.acquire(timeout=limit_s)
            except Timeout as error:
                message = f"another engine has been starting on device {device} for {limit_s:.0f} s"
                raise PlacementError(message) from error
            held.callback(lock.release)
        return held.pop_all()


def budget(placed: Placement, measure: Measure = free_bytes) -> Budget:
    """The plan, shrunk to what is free.

    Raises PlacementError if there is no room for the KV cache of even one request. Called while the
    engine has the locks.
    """
    wanted, work = placed.need, placed.work
    others = wanted.total - wanted.kv_cache
    free = least_free(placed, measure)
    if free is None or free >= wanted.total:
        return Budget(wanted.kv_cache, wanted.total - wanted.fixed)
    smallest = kv_cache_bytes(
        work.architecture, work.context_tokens, work.number_bytes, placed.degree
    )
    if work.engine == "sentence-transformers" or free < others + smallest:
        smallest = 0 if work.engine == "sentence-transformers" else smallest
        message = (
            f"{work.service}: {work.model} needs {(others + smallest) / GB:.2f} GB on GPU "
            f"{_names(placed.gpus)} for one request of {work.context_tokens} tokens, and "
            f"{free / GB:.2f} GB are free; stop what else runs there, or ask for a smaller context"
        )
        raise PlacementError(message)
    logger.warning(
        "%s: GPU %s has %.2f GB free, the plan wanted %.2f GB: the KV cache shrinks to %.2f GB",
        work.service,
        _names(placed.gpus),
        free / GB,
        wanted.total / GB,
        (free - others) / GB,
    )
    return Budget(free - others, free - wanted.fixed)


def compare(placed: Placement, before: int | None, measure: Measure = free_bytes) -> None:
    """Log what the engine has really taken, and warn if that is more than planned."""
    after = least_free(placed, measure)
    if before is None or after is None:
        return
    taken, planned = before - after, placed.need.total
    level = logging.WARNING if taken > planned * (1 + TOLERANCE) else logging.INFO
    logger.log(
        level,
        "%s: takes %.2f GB of GPU %s, planned were %.2f GB; %.2f GB are free",
        placed.work.service,
        taken / GB,
        _names(placed.gpus),
        planned / GB,
        after / GB,
    )


def least_free(placed: Placement, measure: Measure = free_bytes) -> int | None:
    """Free bytes of the fullest of its GPUs, or None if they cannot be measured."""
    measured = [measure(gpu) for gpu in placed.gpus]
    return min((free for free in measured if free is not None), default=None)


def environment(placed: Placement, *, shared: bool) -> dict[str, str]:
    """The environment variables that the engine's process needs before it loads CUDA.

    A share only takes effect if the MPS daemon runs; without it CUDA ignores the variables.
    """
    variables = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(gpu.device for gpu in placed.gpus),
    }
    if shared and placed.degree == 1 and placed.gpus[0].mig_slice is None:
        percent = max(1, round(placed.share * 100))
        variables["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(percent)
    return variables


def _names(gpus: Sequence[Gpu]) -> str:
    return ", ".join(gpu.device for gpu in gpus)
