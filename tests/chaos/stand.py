"""The stand: the real entry service and supervisor, weightless services behind proxies.

As `running_stand` starts it, it has one LLM tier and lets everybody in. As `running_guarded` does,
it asks for keys and has a second tier, `large`: an OpenAI-compatible server that misbehaves.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.chaos.backends import TOKEN_VARIABLE
from tests.chaos.proxy import Fault, Proxy
from tests.support.providers import FakeProvider, fake_provider
from tests.support.stack import ROOT, WRITING, free_port, stop
from tiffin.traffic.key_file import KeyFile

SERVICES = ("Embedding", "Reranker", "Router", "Safety", "SmallLLM")
START_LIMIT_S = 120
CONCURRENCY = 32
DEADLINE_S = 5.0
DRAIN_S = 6
BREAKER_S = 2
"""After which a breaker of a guarded stand lets a request try again."""

GRACE_S = 0.25
"""By which an answer may pass its deadline."""

MIB = 1 << 20
TOKEN = secrets.token_hex(16)


@dataclass
class Stand:
    """A running stand."""

    url: str
    proxies: dict[str, Proxy]
    state_url: str
    directory: Path
    process: "subprocess.Popen[bytes]"
    environment: dict[str, str] = field(default_factory=dict)

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

    async def restart_entry(self, **environment: str) -> None:
        """Start the entry service again, after it has ended or in place of what runs."""
        await self.end_entry()
        self.environment |= environment
        self.start_entry()
        await self.wait_ready()

    async def end_entry(self) -> None:
        """End the entry service, if it runs."""
        await _stop_entry(self)

    def start_entry(self) -> None:
        """The entry service alone, as in a container."""
        self.process = start_entry(self)


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


@dataclass
class Guarded(Stand):
    """A stand with keys. `provider` is the server behind the tier `large`, reached by `front`."""

    keys: KeyFile = field(default_factory=lambda: KeyFile(Path("keys.json")))
    provider: FakeProvider = field(default_factory=FakeProvider)
    front: Proxy = field(default_factory=lambda: Proxy(0))

    def ledger(self) -> Path:
        """Where the entry service keeps its books."""
        return self.directory / "ledger.sqlite3"


def start_entry(stand: Stand) -> "subprocess.Popen[bytes]":
    """Its process."""
    url, directory = stand.url, stand.directory
    depends = [f"--depends={name}=http://127.0.0.1:{p.port}" for name, p in stand.proxies.items()]
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
                **WRITING,
                "TIFFIN_RAG__DEADLINE_MS": str(int(DEADLINE_S * 1000)),
                "TIFFIN_LIMITS__CONCURRENCY": str(CONCURRENCY),
                "TIFFIN_RESILIENCE__SUPERVISION__DRAIN_MS": str(DRAIN_S * 1000),
                "TIFFIN_RESILIENCE__ADMISSION__MAX_WAITING": "16",
                "TIFFIN_RESILIENCE__ADMISSION__MAX_WAIT_MS": "1000",
                "TIFFIN_ROUTING__LEDGER": str(directory / "ledger.sqlite3"),
                **stand.environment,
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@asynccontextmanager
async def running_stand(directory: Path) -> AsyncGenerator[Stand, None]:
    """Start everything, wait until ready, and stop it again whatever happens."""
    async with AsyncExitStack() as stack:
        stand = await _behind(stack, directory)
        await _serving(stack, stand)
        yield stand


@asynccontextmanager
async def running_guarded(directory: Path) -> AsyncGenerator[Guarded, None]:
    """The same with keys and a provider; its services put requests into batches."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(fake_provider())
        front = Proxy(int(provider.url.rsplit(":", 1)[1]))
        await front.start()
        stack.push_async_callback(front.stop)
        card = {
            "provider": "openai-compatible",
            "model": "big",
            "base_url": f"http://127.0.0.1:{front.port}",
            "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
        }
        keys = directory / "keys.json"
        fleet = {"TIFFIN_PROVIDERS": json.dumps({"large": card})}
        base = await _behind(stack, directory, "--batched", **fleet)
        environment = {
            **fleet,
            "TIFFIN_ACCESS__KEYS_FILE": str(keys),
            "TIFFIN_RESILIENCE__STREAM__GAP_MS": "1000",
            "TIFFIN_ROUTING__FAILOVER__BREAKER_OPEN_MS": str(BREAKER_S * 1000),
            # Answers that come late on purpose are not to close the door.
            "TIFFIN_RESILIENCE__ADMISSION__MIN_IN_WORK": str(CONCURRENCY),
        }
        stand = Guarded(**{**vars(base), "environment": environment})
        stand.keys, stand.provider, stand.front = KeyFile(keys), provider, front
        await _serving(stack, stand)
        yield stand


async def _behind(stack: AsyncExitStack, directory: Path, *flags: str, **environment: str) -> Stand:
    """What stands behind the entry service, and where that will be; it is not started yet."""
    ports = [free_port() for _ in (*SERVICES, "state")]
    with (directory / "backends.log").open("wb") as log:
        backends = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-m", "tests.chaos.backends", *map(str, ports), *flags],
            cwd=ROOT,
            env={**os.environ, TOKEN_VARIABLE: TOKEN, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack.callback(backends.wait)
    stack.callback(backends.send_signal, signal.SIGKILL)
    proxies = {name: Proxy(port) for name, port in zip(SERVICES, ports, strict=False)}
    for proxy in proxies.values():
        await proxy.start()
        stack.push_async_callback(proxy.stop)
    url = f"http://127.0.0.1:{free_port()}"
    return Stand(url, proxies, f"http://127.0.0.1:{ports[-1]}/state", directory, backends)


async def _serving(stack: AsyncExitStack, stand: Stand) -> None:
    stand.start_entry()
    stack.push_async_callback(_stop_entry, stand)
    await stand.wait_ready()


async def _stop_entry(stand: Stand) -> None:
    if stand.process.poll() is None:
        await asyncio.to_thread(stop, stand.process)
