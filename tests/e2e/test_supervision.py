"""The supervisor, with real processes: the stand has one service, which loads in seconds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from tests.chaos.stand import Stand, running_stand
from tests.support.soon import SOON_S
from tests.support.stack import ROOT, TINY, free_port

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest_asyncio.fixture
async def stand(tmp_path: Path) -> AsyncGenerator[Stand, None]:
    async with running_stand(tmp_path) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_dead_or_stopped_process_is_replaced_in_a_container_too(
    stand: Stand, number: signal.Signals
) -> None:
    before = stand.entry()
    before.send_signal(number)
    gone, _ = psutil.wait_procs([before], timeout=10)
    assert gone == [before]
    await stand.wait_ready()
    assert stand.entry().pid != before.pid


async def test_sigterm_flips_readiness_finishes_the_work_and_leaves_nothing(stand: Stand) -> None:
    supervisor = psutil.Process(stand.process.pid)
    family = [supervisor, *supervisor.children(recursive=True)]
    sockets = [line for line in open_sockets() if str(stand.directory) in line]
    question = {"query": "how tall?", "documents": ["It is 3 m tall."], "stream": True}
    async with (
        httpx.AsyncClient(base_url=stand.url, timeout=20) as client,
        client.stream("POST", "/rag_query", json=question) as response,
    ):
        lines = response.aiter_lines()
        while "rag.delta" not in await anext(lines):
            pass
        supervisor.terminate()
        rest = [line async for line in lines]
    assert "data: [DONE]" in rest
    assert stand.process.wait(15) == 0
    assert not any(process.is_running() for process in family[1:])
    assert sockets == [line for line in open_sockets() if str(stand.directory) in line]


async def test_the_second_signal_forces(stand: Stand) -> None:
    endless = {
        "query": "how tall?",
        "documents": ["It is 3 m tall."],
        "stream": True,
        "max_tokens": 4096,
    }
    async with (
        httpx.AsyncClient(base_url=stand.url, timeout=20) as client,
        client.stream("POST", "/rag_query", json=endless) as response,
    ):
        await anext(response.aiter_lines())
        stand.process.terminate()
        time.sleep(1)  # noqa: ASYNC251  the client must not read on
        assert stand.process.poll() is None
        stand.process.terminate()
        stand.process.wait(SOON_S)


def test_a_service_that_cannot_start_ends_the_start_with_one_line(tmp_path: Path) -> None:
    environment = {
        **TINY,
        **os.environ,
        "BENTOML_HOME": str(tmp_path),
        "TIFFIN_RERANKER__DEVICE": "cuda",
        "CUDA_VISIBLE_DEVICES": "",
    }
    began = time.monotonic()
    process = subprocess.run(
        [Path(sys.executable).with_name("bentoml"), "serve", "--port", str(free_port())],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("tiffin: Reranker could not start: its process ended with status")
    assert time.monotonic() - began < 100


def open_sockets() -> list[str]:
    return Path("/proc/net/unix").read_text().splitlines()
