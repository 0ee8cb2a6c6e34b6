"""The stand: the real entry service and supervisor, weightless services behind proxies."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.chaos.backends import TOKEN_VARIABLE
from tests.chaos.proxy import Fault, Proxy
from tests.support.stack import ROOT, free_port, stop

SERVICES = ("Embedding", "Reranker", "Router", "SmallLLM")
START_LIMIT_S = 120
CONCURRENCY = 32
TOKEN = secrets.token_hex(16)


@dataclass
class Stand:
    """A running stand."""

    url: str
    proxies: dict[str, Proxy]
    state_url: str
    directory: Path
    process: "subprocess.Popen[bytes]"

    def entry(self) -> psutil.Process:
        """The entry service's own process."""
        return psutil.Process(self.process.pid).children()[0]

    def break_all(self, fault: Fault) -> None:
        """The same fault on every hop."""
        for proxy in self.proxies.values():
            proxy.fault = fault

    async def state(self) -> dict[str, Any]:
        """What the services did."""
        async with aiohttp.ClientSession() as session, session.get(self.state_url) as response:
            state: dict[str, Any] = await response.json()
            return state

    async def wait_ready(self) -> float:
        """Wait until `/readyz` says ready; seconds that it took."""
        return await wait_ready(self.url)

    async def restart_entry(self) -> None:
        """Start the entry service again after it has ended."""
        self.process = start_entry(self.url, self.proxies, self.directory)
        await self.wait_ready()


async def wait_ready(url: str, limit_s: float = START_LIMIT_S) -> float:
    """Wait until `/readyz` answers 200 with status ready."""
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        while time.monotonic() - began < limit_s:
            try:
                async with session.get(f"{url}/readyz") as response:
                    if (await response.json(content_type=None))["status"] == "ready":
                        return time.monotonic() - began
            except (aiohttp.ClientError, OSError, ValueError, KeyError):
                pass
            await asyncio.sleep(0.1)
    message = f"{url} was not ready after {limit_s} s"
    raise AssertionError(message)


def start_entry(url: str, proxies: dict[str, Proxy], directory: Path) -> "subprocess.Popen[bytes]":
    """The entry service alone, as in a container."""
    depends = [f"--depends={name}=http://127.0.0.1:{p.port}" for name, p in proxies.items()]
    with (directory / "serve.log").open("ab") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "bentoml_cli._internal.start", "start-http-server"),
                *("service:RAG", "--service-name=RAG", "--host=127.0.0.1"),
                f"--port={url.rsplit(':', 1)[1]}",
                *depends,
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "BENTOML_HOME": str(directory / "bentoml"),
                "BENTOML_CONTAINERIZED": "true",
                TOKEN_VARIABLE: TOKEN,
                "TIFFIN_RAG__DEADLINE_MS": "5000",
                "TIFFIN_LIMITS__CONCURRENCY": str(CONCURRENCY),
                "TIFFIN_RESILIENCE__SUPERVISION__DRAIN_MS": "10000",
                "TIFFIN_RESILIENCE__ADMISSION__MAX_WAITING": "16",
                "TIFFIN_RESILIENCE__ADMISSION__MAX_WAIT_MS": "1000",
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@asynccontextmanager
async def running_stand(directory: Path) -> AsyncGenerator[Stand, None]:
    """Start everything, wait until ready, and stop it again whatever happens."""
    ports = [free_port() for _ in (*SERVICES, "state")]
    async with AsyncExitStack() as stack:
        backends = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-m", "tests.chaos.backends", *map(str, ports)],
            cwd=ROOT,
            env={**os.environ, TOKEN_VARIABLE: TOKEN},
        )
        stack.callback(backends.wait)
        stack.callback(backends.send_signal, signal.SIGKILL)
        proxies = {name: Proxy(port) for name, port in zip(SERVICES, ports, strict=False)}
        for proxy in proxies.values():
            await proxy.start()
            stack.push_async_callback(proxy.stop)
        url = f"http://127.0.0.1:{free_port()}"
        process = start_entry(url, proxies, directory)
        stand = Stand(url, proxies, f"http://127.0.0.1:{ports[-1]}/state", directory, process)
        stack.push_async_callback(_stop_entry, stand)
        await stand.wait_ready()
        yield stand


async def _stop_entry(stand: Stand) -> None:
    await asyncio.to_thread(stop, stand.process)
