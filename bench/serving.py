"""How a benchmark starts servers, its own and those of peers; each ends with its block."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bentoml

from bench.leftovers import ENDING, end
from tests.support.stack import free_port

START_LIMIT_S = 300


class PeerUnavailable(Exception):
    """The registry does not have it, or it does not install or start here."""


@contextmanager
def server(
    folder: Path, command: Sequence[str | Path], ready: str, **variables: str
) -> Generator[int, None, None]:
    """Run it in `folder` until the block ends; begins when `ready` answers. Gives its PID."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            env={**offline(), **variables},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        try:
            wait_for(ready, lambda: process.poll() is not None)
        except PeerUnavailable as error:
            message = f"{error}; its log ends with: {last_line(folder / 'log')}"
            raise PeerUnavailable(message) from error
        yield process.pid
    finally:
        end(process)


@contextmanager
def bento(service: str) -> Generator[str, None, None]:
    """Serve it by BentoML from this process, on a free port of which it gives the URL.

    What it prints, a line for each request, goes nowhere. BentoML's arbiter takes the signals to
    itself and would end only its services by them.
    """
    handlers = [signal.getsignal(number) for number in ENDING]
    with _silent(), bentoml.serve(service, working_dir=".", port=free_port()) as served:
        for number, handler in zip(ENDING, handlers, strict=True):
            signal.signal(number, handler)
        yield served.url


@contextmanager
def _silent() -> Generator[None, None, None]:
    """What is started here prints nowhere, nor does this process until the block ends."""
    kept = [os.dup(stream) for stream in (1, 2)]
    with Path(os.devnull).open("wb") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    try:
        yield
    finally:
        for stream, own in zip((1, 2), kept, strict=True):
            os.dup2(own, stream)
            os.close(own)


def wait_for(url: str, has_ended: Callable[[], bool] = lambda: False) -> None:
    """Wait until the URL answers 200. Raises PeerUnavailable if who is to answer ends before."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if has_ended():
            raise PeerUnavailable("it ended before it answered")
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  our own, on loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    message = f"{url} did not answer in {START_LIMIT_S} s"
    raise PeerUnavailable(message)


def offline() -> dict[str, str]:
    """The environment of a process that needs no network."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


def last_line(log: Path) -> str:
    """What a process said last."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
