"""How long a warm start takes, where the seconds go, and what every process holds."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import httpx2

from bench.table import Table
from tests.support.stack import Stack, running_stack
from tiffin.lifecycle.supervision import DIRECTORY_VARIABLE

ROUNDS = 3
REACH_S, REACH_MIB = 8, 1526

ENCODER_STEPS = """
import time
began = time.perf_counter()
def step(name):
    global began
    now = time.perf_counter()
    print(f"{name}\\t{now - began:.2f}")
    began = now
from services.bento import worker
worker.install()
from services import hosting
step("import bentoml and the settings")
from models.engines import encoders, openvino
step("import OpenVINO")
folder = hosting.weights(hosting.settings.embedding.model)
embedder = encoders.embedder(folder, device="cpu", threads=2)
step("write and compile the graph, first batches")
"""


def run() -> str:
    """Start the stack a few times, then the steps of an encoder alone."""
    starts, services = [], {}
    for _ in range(ROUNDS):
        with (
            tempfile.TemporaryDirectory() as directory,
            running_stack(Path(directory), TIFFIN_PROFILE="laptop") as stack,
        ):
            starts.append(stack.ready_after_s)
            _write(stack)
            services = _services(stack)
    return f"{_processes(starts, services)}\n{_steps()}"


def _processes(starts: list[float], services: dict[str, tuple[str, int]]) -> Table:
    rows = [(name, ready, f"{mib}") for name, (ready, mib) in services.items()]
    total = sum(mib for _, mib in services.values())
    rows.append(("all, until /readyz says 200", f"{median(starts):.1f}", str(total)))
    return Table(
        "Warm start of `bentoml serve`, laptop profile",
        ("process", "ready after s", "MiB (PSS)"),
        rows,
        f"Median of {ROUNDS} starts; memory after the LLM has written once. To reach: {REACH_S} s "
        f"and {REACH_MIB} MiB.",
    )


def _write(stack: Stack) -> None:
    """Let the LLM write, because what it has not read yet of its weights' file does not count."""
    turn = {"role": "user", "content": "Tell me about rivers."}
    body = {"model": "small", "messages": [turn], "max_tokens": 8}
    httpx2.post(f"{stack.url}/v1/chat/completions", json=body, timeout=120).raise_for_status()


def _services(stack: Stack) -> dict[str, tuple[str, int]]:
    """Seconds until ready, as each service logs them, and its proportional set size in MiB."""
    found: dict[str, str] = dict(
        re.findall(r"(\w+) is ready after ([\d.]+) s", stack.log.read_text())
    )
    rows = {
        name: (ready, stack.worker(name).memory_full_info().pss >> 20)
        for name, ready in found.items()
    }
    rows["supervisor"] = ("-", stack.supervisor.memory_full_info().pss >> 20)
    return rows


def _steps() -> Table:
    command = [sys.executable, "-c", ENCODER_STEPS]
    worker = {**os.environ, DIRECTORY_VARIABLE: "/"}
    done = subprocess.run(  # noqa: S603  our own program
        command, check=True, capture_output=True, text=True, env=worker
    )
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    return Table("Where an encoder's start goes, alone on the machine", ("step", "s"), rows)
