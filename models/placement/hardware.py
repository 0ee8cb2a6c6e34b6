"""The GPUs of this machine, or those that a user describes.

They are detected with NVML if its package is installed, otherwise with `nvidia-smi`; without both
there are none. Called by `tiffin plan` and by the services before they load anything.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import PlacementError

GB = 10**9
MIB = 1 << 20
SMI_TIMEOUT_S = 20.0

_SPEC = re.compile(
    r"(?P<count>\d{1,3})x(?P<size>\d+(?:\.\d+)?|(?P<slice>\dg\.(?P<slice_gb>\d+)gb))"
)


@dataclass(frozen=True)
class Gpu:
    """One card, or one MIG slice of a card, which behaves like a separate card.

    `device` is its name in `CUDA_VISIBLE_DEVICES`: an index, or the UUID of a slice.
    """

    index: int
    name: str
    total_bytes: int
    device: str
    mig_slice: str | None = None


def parse_gpus(text: str) -> list[Gpu]:
    """GPUs as in `1x24,4x80` (count x decimal GB) or `2x3g.40gb` (MIG slices).

    Decimal GB is the safe reading of a card's name: a 24 GB L4 shows 24.2e9 bytes, an 80 GB H100
    85.5e9. Raises PlacementError, which shows the expected form.
    """
    gpus: list[Gpu] = []
    for item in text.split(","):
        match = _SPEC.fullmatch(item.strip())
        size = float(match["slice_gb"] or match["size"]) if match else 0
        if match is None or not int(match["count"]) or not size:
            message = (
                f"GPUs {item.strip()!r}: expected COUNTxGB as in 1x24,4x80, "
                "or COUNTxSLICE as in 2x3g.40gb"
            )
            raise PlacementError(message)
        for _ in range(int(match["count"])):
            number = len(gpus)
            name = match["slice"] or f"{size:g} GB"
            gpus.append(Gpu(number, name, round(size * GB), str(number), match["slice"]))
    return gpus


def detect_gpus(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The GPUs of this machine that this process may use, in the driver's order, if any.

    Raises PlacementError if `CUDA_VISIBLE_DEVICES` names one that does not exist, or if there is a
    driver that does not answer.
    """
    return _visible(_from_nvml(), environment.get("CUDA_VISIBLE_DEVICES"))


def mps_runs(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this host offers MPS: its daemon keeps a control pipe where CUDA looks for it.

    Then processes that share a GPU compute side by side; without it they take turns.
    """
    folder = environment.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")  # noqa: S108  NVIDIA's
    return (Path(folder) / "control").exists()


def free_bytes(gpu: Gpu) -> int | None:
    """Free memory of a GPU at this moment, or None without NVML."""
    nvml = _nvml()
    if nvml is None:
        rows = _smi("uuid,index,memory.free")
        return next((int(row[2]) * MIB for row in rows if gpu.device in row[:2]), None)
    try:
        handle = (
            nvml.nvmlDeviceGetHandleByUUID(gpu.device)
            if gpu.mig_slice
            else nvml.nvmlDeviceGetHandleByIndex(gpu.index)
        )
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
    except nvml.NVMLError as error:
        raise PlacementError(f"GPU {gpu.device} does not answer: {error}") from error


def driver_version() -> str:
    """The NVIDIA driver's version, such as `580.95`; empty without one."""
    nvml = _nvml()
    return str(nvml.nvmlSystemGetDriverVersion()) if nvml is not None else ""


def _nvml() -> Any:  # noqa: ANN401  a module without types, or None
    """NVML, initialised, or None without its package or a driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _from_nvml() -> list[Gpu]:
    nvml = _nvml()
    if nvml is None:
        return _from_smi()
    gpus: list[Gpu] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name = str(nvml.nvmlDeviceGetName(handle))
            slices = _slices(nvml, handle, index, name)
            total = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
            gpus += slices or [Gpu(index, name, total, str(index))]
    except nvml.NVMLError as error:
        raise PlacementError(f"the NVIDIA driver does not answer: {error}") from error
    return gpus


def _slices(nvml: Any, handle: Any, index: int, name: str) -> list[Gpu]:  # noqa: ANN401
    """The MIG instances of a card, if it has any."""
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:
        return []
    if not current:
        return []
    found: list[Gpu] = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:
            continue  # an unused slot
        kind = str(nvml.nvmlDeviceGetName(part)).rpartition("MIG ")[2]
        total = int(nvml.nvmlDeviceGetMemoryInfo(part).total)
        found.append(Gpu(index, name, total, str(nvml.nvmlDeviceGetUUID(part)), kind))
    return found


def _from_smi() -> list[Gpu]:
    rows = _smi("index,name,memory.total")
    return [Gpu(int(row[0]), row[1], int(row[2]) * MIB, row[0]) for row in rows]


def _smi(fields: str) -> list[list[str]]:
    """Rows of `nvidia-smi`; none if it is not installed or finds no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(  # noqa: S603  the driver's own program, fixed arguments
            command, capture_output=True, text=True, check=False, timeout=SMI_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise PlacementError(f"nvidia-smi did not answer in {SMI_TIMEOUT_S:.0f} s") from error
    if result.returncode:
        return []
    return [[cell.strip() for cell in line.split(",")] for line in result.stdout.splitlines()]


def _visible(gpus: list[Gpu], allowed: str | None) -> list[Gpu]:
    """The GPUs that the operator left visible, in the order of the variable."""
    if allowed is None:
        return gpus
    names = [name for name in allowed.replace(" ", "").split(",") if name]
    by_device = {gpu.device: gpu for gpu in gpus}
    if unknown := [name for name in names if name not in by_device and name != "-1"]:
        there = ", ".join(by_device) or "none"
        message = (
            f"CUDA_VISIBLE_DEVICES names GPU {unknown[0]}, which does not exist; there are: {there}"
        )
        raise PlacementError(message)
    return [by_device[name] for name in names if name != "-1"]
