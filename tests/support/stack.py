"""The whole of Tiffin as a user starts it: `bentoml serve` in a process group of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[2]
BENTOML = Path(sys.executable).with_name("bentoml")
START_LIMIT_S = 180
TINY = {"TIFFIN_PROFILE": "tiny"}
"""For tests of what happens around the models, which are nearly all: the smallest download."""

ANEW = {"TIFFIN_CACHE__EXACT": "false", "TIFFIN_CACHE__RETRIEVAL": "false"}
"""For tests and benchmarks that ask the same again and again: each is answered by the models."""

WRITING = {"TIFFIN_RAG__PREFER": "write", "TIFFIN_RAG__GROUNDING": "off", **ANEW}
"""For tests of what happens around a model: it answers whatever the documents say."""


@dataclass(frozen=True)
class Stack:
    """A running Tiffin."""

    url: str
    supervisor: psutil.Process
    log: Path
    ready_after_s: float

    def processes(self) -> list[psutil.Process]:
        """The supervisor and all workers."""
        return [self.supervisor, *self.supervisor.children(recursive=True)]

    def service_urls(self) -> dict[str, str]:
        """Where BentoML put each service, as its workers are told."""
        for process in self.supervisor.children():
            if runners := process.environ().get("BENTOML_RUNNER_MAP"):
                urls: dict[str, str] = json.loads(runners)
                return urls
        raise AssertionError("no worker has a runner map")

    def worker(self, service: str) -> psutil.Process:
        """The worker process of one service."""
        for process in self.supervisor.children():
            arguments = process.cmdline()
            if "--service-name" in arguments and service in arguments:
                return process
        raise AssertionError(f"no worker serves {service}")


@contextmanager
def running_stack(
    directory: Path, bento: str | None = None, **environment: str
) -> Generator[Stack, None, None]:
    """Start from the source tree, or a Bento from its store; wait until ready; stop again."""
    port = free_port()
    log = directory / "serve.log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BENTOML, "serve", *([bento] if bento else []), "--port", str(port)],
            cwd=directory if bento else ROOT,
            env={
                **TINY,
                **os.environ,
                **ANEW,
                "BENTOML_HOME": str(directory / "bentoml"),
                "TIFFIN_CORPORA": str(directory / "corpora"),
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(f"{url}/readyz", process)
        ready_after_s = time.monotonic() - began
        yield Stack(url, psutil.Process(process.pid), log, ready_after_s)
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a supervisor and everything it started."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    finally:
        for child in family:
            if child.is_running():
                child.kill()
        process.kill()
        process.wait()


def wait_until(url: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait until the URL answers 200; fails at once when the process ends."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the server ended with status {process.returncode}")
        try:
            if httpx.get(url, timeout=1).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} did not answer 200 in {START_LIMIT_S} s")


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
