"""How an engine takes its place on its GPUs: one after the other, by what is really free.

Two engines that start together on one GPU measure each other's loading and mis-size themselves or
crash. So each start holds the lock of every GPU it stands on, measures, loads, and measures again.
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
"""How long an engine waits for those before it; loading 140 GB from a disk takes many minutes."""

TOLERANCE = 0.10
"""How far what an engine takes may be from its plan before it is said."""

CPU = "cpu"


@dataclass(frozen=True)
class Budget:
    """What an engine may take of each of its GPUs, now that they were measured."""

    kv_cache_bytes: int
    total_bytes: int


def turn(home: Path, devices: Sequence[str], *, limit_s: float = START_LIMIT_S) -> ExitStack:
    """Wait for the locks of these devices; closing the result frees them. The CPU counts as one.

    Locks are taken in one order everywhere, so that two engines never wait for each other. They
    belong to the process: the end of a killed one frees them. Blocks: an event loop waits in a
    thread. Raises PlacementError after `limit_s`.
    """
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for device in sorted(set(devices)) or [CPU]:
            # Taken in a thread, released in another: the lock is the process's.
            lock = FileLock(folder / f"device-{device}.lock", thread_local=False)
            try:
                lock.acquire(timeout=limit_s)
            except Timeout as error:
                message = f"another engine has been starting on device {device} for {limit_s:.0f} s"
                raise PlacementError(message) from error
            held.callback(lock.release)
        return held.pop_all()


def budget(placed: Placement, measure: Callable[[Gpu], int | None] = free_bytes) -> Budget:
    """What is planned, shrunk to what is free.

    Raises PlacementError when not even one request's KV cache would remain. Called in the
    engine's turn.
    """
    wanted, work = placed.need, placed.work
    others = wanted.total - wanted.kv_cache
    free = _least_free(placed.gpus, measure)
    if free is None or free >= wanted.total:
        return Budget(wanted.kv_cache, wanted.total)
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
    return Budget(free - others, free)


def compare(
    placed: Placement, before: int | None, measure: Callable[[Gpu], int | None] = free_bytes
) -> None:
    """Say what the engine has really taken, and warn where that is more than its plan."""
    after = _least_free(placed.gpus, measure)
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


def least_free(placed: Placement) -> int | None:
    """Free bytes of the fullest of its GPUs; None where nothing can tell."""
    return _least_free(placed.gpus, free_bytes)


def environment(placed: Placement, *, shared: bool) -> dict[str, str]:
    """What the engine's process must find in its environment before it loads CUDA.

    A share counts only where the MPS daemon runs; without one CUDA ignores the variables.
    """
    variables = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(gpu.device for gpu in placed.gpus),
    }
    if shared and placed.degree == 1 and placed.gpus[0].mig_slice is None:
        percent = max(1, round(placed.share * 100))
        variables["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(percent)
    return variables


def _least_free(gpus: Sequence[Gpu], measure: Callable[[Gpu], int | None]) -> int | None:
    measured = [measure(gpu) for gpu in gpus]
    return min((free for free in measured if free is not None), default=None)


def _names(gpus: Sequence[Gpu]) -> str:
    return ", ".join(gpu.device for gpu in gpus)
