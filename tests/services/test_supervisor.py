"""The supervisor over real, small processes: what it replaces, what it gives up, how it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.stack import ROOT

pytestmark = pytest.mark.slow

LIMIT_S = 30.0


class Supervised:
    """A running supervisor and what its processes wrote."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self.log = log

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def count(self, line: str) -> int:
        return self.lines().count(line)

    def inner(self) -> psutil.Process:
        return next(
            child
            for child in psutil.Process(self.process.pid).children()
            if "service_Inner" in child.cmdline()
        )


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def supervised(directory: Path, behaviour: str) -> Generator[Supervised, None, None]:
    log = directory / "log"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.supervised", str(log), behaviour],
        cwd=ROOT,
        env={**os.environ, "BENTOML_CONTAINERIZED": "true"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    family: list[psutil.Process] = []
    try:
        yield Supervised(process, log)
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
        for child in family:
            child.kill()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_stopped_process_is_replaced(tmp_path: Path, number: signal.Signals) -> None:
    with supervised(tmp_path, "serves") as running:
        wait_for(lambda: running.count("service_Inner ready") == 1)
        before = running.inner()
        before.send_signal(number)
        wait_for(lambda: running.count("service_Inner ready") == 2)
        assert not before.is_running()
        assert running.count("service ready") == 1, "the other one is left alone"


def test_a_process_whose_event_loop_hangs_is_replaced(tmp_path: Path) -> None:
    with supervised(tmp_path, "hangs") as running:
        wait_for(lambda: running.count("service_Inner ready") >= 2)


def test_a_process_that_cannot_start_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with supervised(tmp_path, "fails") as running:
        _, error = running.process.communicate(timeout=LIMIT_S)
    assert running.process.returncode == 1
    assert error.splitlines()[-1] == (
        "tiffin: Inner could not start: its process ended with status 3; its log is above"
    )


def test_on_sigterm_the_entry_service_ends_first_and_nothing_is_left(tmp_path: Path) -> None:
    with supervised(tmp_path, "serves") as running:
        wait_for(lambda: len(running.lines()) == 2)
        family = psutil.Process(running.process.pid).children(recursive=True)
        running.process.terminate()
        assert running.process.wait(LIMIT_S) == 0
    assert running.lines()[2:] == [
        "service was told to end",
        "service ended",
        "service_Inner was told to end",
        "service_Inner ended",
    ]
    assert not any(process.is_running() for process in family)


def test_a_second_signal_forces(tmp_path: Path) -> None:
    with supervised(tmp_path, "serves") as running:
        wait_for(lambda: len(running.lines()) == 2)
        running.process.terminate()
        wait_for(lambda: "service was told to end" in running.lines())
        running.process.terminate()
        running.process.wait(LIMIT_S)
    assert "service ended" not in running.lines()


def test_without_their_supervisor_processes_end_by_themselves(tmp_path: Path) -> None:
    with supervised(tmp_path, "serves") as running:
        wait_for(lambda: len(running.lines()) == 2)
        family = psutil.Process(running.process.pid).children(recursive=True)
        running.process.kill()
        running.process.wait()
        gone, _ = psutil.wait_procs(family, timeout=LIMIT_S)
    assert len(gone) == len(family)
