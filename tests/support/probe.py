"""A BentoML service that shows what the seams change, served by BentoML's own worker.

With `STOCK` in the environment it runs without them.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, create_connection, socket

import bentoml
import httpx

from services.bento import logs, request_metrics, seams
from tests.support.stack import ROOT
from tiffin.config.requests import LimitSettings
from tiffin.config.telemetry import LogSettings

TIMEOUT_S, SLOW_S = 1, 1.5

if "STOCK" not in os.environ:
    seams.install(LimitSettings())
    logs.install(LogSettings())
    request_metrics.counted.append({"/quick", "/slow"})


@bentoml.service(name="Probe", traffic={"timeout": TIMEOUT_S})
class Probe:
    """Answers quickly or slowly."""

    @bentoml.api
    async def quick(self) -> str:
        """At once."""
        return "done"

    @bentoml.api
    async def slow(self) -> str:
        """After BentoML's timeout."""
        await asyncio.sleep(SLOW_S)
        return "done"


@dataclass(frozen=True)
class Running:
    """The service, in a process of its own."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def post(self, path: str) -> httpx.Response:
        """Call one of its methods."""
        return httpx.post(f"{self.url}{path}", json={}, timeout=20)

    def raw(self, sent: bytes) -> bytes:
        """What it answers to bytes."""
        with create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@contextmanager
def running_probe(folder: Path, *, stock: bool) -> Generator[Running, None, None]:
    """Start it as BentoML's supervisor does."""
    metrics = folder / "metrics"
    metrics.mkdir(parents=True)
    environment = {
        **os.environ,
        "BENTOML_HOME": str(folder),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        **({"STOCK": "1"} if stock else {}),
    }
    log = folder / "log"
    with socket(AF_INET, SOCK_STREAM) as listening, log.open("w") as lines:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        fd = listening.fileno()
        worker = ["-m", "_bentoml_impl.worker.service", f"{__name__}:Probe", "--worker-id", "1"]
        with subprocess.Popen(
            [sys.executable, *worker, "--fd", str(fd)],
            cwd=ROOT,
            env=environment,
            stdout=lines,
            stderr=lines,
            pass_fds=[fd],
        ) as process:
            try:
                yield Running(listening.getsockname()[1], log)
            finally:
                process.terminate()
