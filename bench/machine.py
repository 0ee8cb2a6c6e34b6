"""What a benchmark ran on, and whether that machine was quiet. `python -m bench` asks both."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import psutil

BUSY_PERCENT = 20
"""Of all cores. A quiet machine of two cores shows 1 to 5."""

WATCHED_S = 5
INSTRUCTIONS = ("amx_tile", "avx512_vnni", "avx_vnni", "avx512f", "avx2")


def busy() -> float | None:
    """The share of all cores in percent that other work takes; None if that is little."""
    percent = psutil.cpu_percent(WATCHED_S)
    return percent if percent > BUSY_PERCENT else None


def described() -> str:
    """One line: the date, cores, instructions, memory and Python."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"model name\s*: (.+)", cpu)
    flags = set(re.findall(r"\S+", (re.search(r"flags\s*: (.+)", cpu) or [""])[0]))
    best = [flag.partition("_tile")[0] for flag in INSTRUCTIONS if flag in flags][:2]
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    hypervisor = ", a virtual machine" if "hypervisor" in flags else ""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {cores} cores of {name[1].strip() if name else 'a CPU'}"
        f" ({', '.join(best) or platform.machine()}){hypervisor}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}"
    )
