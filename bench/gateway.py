"""What the entry service adds to a chat: latency at concurrency 16, and requests a core can carry.

The LLM has no weights and answers after a time drawn for each call, so that 16 callers at once load
the machine without filling it and do not fall into step; what a call took beyond that time counts.
Calling the LLM directly over the hop is the baseline. Beside it LiteLLM's proxy
before an OpenAI endpoint of the same kind, with that endpoint called directly as its baseline. All
of these are asked by a client that keeps its connections and parses no body, so that little of its
own time counts as theirs. The rounds of all ways take turns. Every way is asked with a core of its
own for the gateway, as if its callers were elsewhere, and with all cores shared, where it waits for
them too. Requests per core are counted by the CPU time of the gateway's process, with an LLM that
answers at once; "in process" is our app alone, without BentoML's server.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Self

import httptools
import psutil
import uvloop
from starlette.types import Message

from bench.litellm_proxy import litellm_proxy
from bench.serving import PeerUnavailable, bento, wait_for
from bench.table import Table
from models.values import ChatMessage, GenerateRequest
from tests.support.stack import free_port
from tiffin.api.app import wrap
from tiffin.clients import LLMClient
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.lifecycle import memory

CONCURRENCY, ROUNDS, CALLS, ENGINE_MS = 16, 5, 480, 50
CORES = sorted(os.sched_getaffinity(0))
OWN, SHARED = "its own", "shared"
FRESH_S = 2.0
"""Servers close what has been idle for seconds: while the other ways were asked, say."""

REACH = "p50 1.5 ms, p99 5 ms, 800 requests per second and core"
QUESTION = "How tall is the tower number {}?"
NUMBER = count(1)
"""No question is asked twice, or Tiffin would give the kept answer."""

Call = Callable[[int], Awaitable[None]]
Latencies = dict[tuple[str, str], list[tuple[float, float]]]
"""By the gateway's cores and the way: p50 and p99 of each round."""


@dataclass(frozen=True)
class Way:
    """One way to ask, the way that it is compared with, and the process whose cost counts."""

    name: str
    call: Call
    baseline: str = ""
    pid: int = 0


def run() -> Table:
    """Start all, measure in turns, stop all."""
    with ExitStack() as stack:
        gate = stack.enter_context(bento("bench.gateway_services:Gate"))
        wait_for(f"{gate}/readyz")
        upstream_port, proxy_port = free_port(), free_port()
        stack.enter_context(_upstream(upstream_port))
        note = ""
        proxy_pid = 0
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peer-")))
            proxy_pid = stack.enter_context(litellm_proxy(folder, proxy_port, upstream_port))
        except PeerUnavailable as error:
            note = f" LiteLLM could not be measured: {error}."
        urls = {"gate": gate, "provider": f"http://127.0.0.1:{upstream_port}"}
        if proxy_pid:
            urls["litellm"] = f"http://127.0.0.1:{proxy_port}"
        return uvloop.run(_measure(urls, proxy_pid, note))


async def _measure(urls: dict[str, str], proxy_pid: int, note: str) -> Table:
    worker = _worker("Gate")
    url = json.loads(worker.environ()["BENTOML_RUNNER_MAP"])["Weightless"]
    llm = LLMClient("Weightless", url)
    with ExitStack() as stack:

        def chat(url: str, model: str) -> Call:
            connections = stack.enter_context(_Connections(url))
            return lambda engine_ms: connections.chat(_body(model, engine_ms))

        direct, endpoint = "LLM service, direct", "OpenAI endpoint, direct"
        ways = [
            Way(direct, lambda engine_ms: _direct(llm, engine_ms)),
            Way("Tiffin's app, in process", _in_process(url), direct, os.getpid()),
            Way("Tiffin, tier named", chat(urls["gate"], "small"), direct, worker.pid),
            Way("Tiffin, `auto`", chat(urls["gate"], "auto"), direct, worker.pid),
        ]
        if "litellm" in urls:
            ways += [
                Way(endpoint, chat(urls["provider"], "small")),
                Way("LiteLLM", chat(urls["litellm"], "small"), endpoint, proxy_pid),
            ]
        latencies: Latencies = {(cores, way.name): [] for cores in (OWN, SHARED) for way in ways}
        carried: dict[str, list[float]] = {way.name: [] for way in ways}
        for way in ways:
            await _load(way.call, 64, 0)  # connections, caches
        memory.settle()  # the generator's garbage is not the gateway's
        gateways = [psutil.Process(pid) for pid in (worker.pid, proxy_pid) if pid]
        for _ in range(ROUNDS):
            for cores in (SHARED, OWN):
                _place(gateways, cores)
                for way in ways:
                    took = await _load(way.call, CALLS, ENGINE_MS)
                    latencies[cores, way.name].append(_p50_p99(took))
            for way in ways:
                if way.pid:
                    carried[way.name].append(await _per_core(way))
        _place([], SHARED)  # this process has other benchmarks to run
        await llm.close()
    rows = [_row(cores, way, latencies, carried) for cores in (OWN, SHARED) for way in ways]
    return Table(
        f"Gateway, added to a chat at concurrency {CONCURRENCY}",
        (
            "gateway's core",
            "way",
            "p50 ms",
            "p99 ms",
            "added p50 ms",
            "added p99 ms",
            "requests/s per core",
        ),
        rows,
        f"{ROUNDS} rounds of {CALLS} calls each, medians of the rounds, beyond the LLM's own"
        f" {ENGINE_MS // 2} to {ENGINE_MS * 3 // 2} ms; for the last column it answers at once."
        f" To reach: {REACH}.{note}",
    )


def _row(
    cores: str, way: Way, latencies: Latencies, carried: dict[str, list[float]]
) -> tuple[str, ...]:
    own, base = latencies[cores, way.name], latencies.get((cores, way.baseline), [])
    added = [(one[0] - other[0], one[1] - other[1]) for one, other in zip(own, base, strict=False)]
    figures = [
        f"{median(round_[which] for round_ in rounds):.2f}" if rounds else ""
        for rounds in (own, added)
        for which in (0, 1)
    ]
    per_core = f"{median(carried[way.name]):.0f}" if way.pid and cores == OWN else ""
    return (cores, way.name, *figures, per_core)


def _place(gateways: list[psutil.Process], cores: str) -> None:
    """The first core to the gateways alone, if they are to have their own; the rest to the rest."""
    apart = [process for gateway in gateways for process in _family(gateway)]
    for process in _family(psutil.Process()):
        given = CORES[:1] if process in apart else CORES[1:] or CORES
        for thread in process.threads():
            os.sched_setaffinity(thread.id, given if cores == OWN else CORES)


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


async def _per_core(way: Way) -> float:
    """Requests per second of CPU time of the gateway's process and its children."""
    family = _family(psutil.Process(way.pid))
    before_s = sum(sum(one.cpu_times()[:2]) for one in family)
    await _load(way.call, CALLS, 0)
    return CALLS / (sum(sum(one.cpu_times()[:2]) for one in family) - before_s)


async def _load(call: Call, calls: int, engine_ms: int) -> list[float]:
    """What calls by `CONCURRENCY` callers, each one at a time, took in ms beyond the LLM's time.

    That is drawn evenly from half to one and a half of `engine_ms`, the same for every way.
    """
    latencies: list[float] = []
    draw = random.Random(0)  # noqa: S311  not for secrets

    async def caller(number: int) -> None:
        # One after the other, or the first calls would measure a queue of 16.
        await asyncio.sleep(number / CONCURRENCY * engine_ms / 1000)
        for _ in range(calls // CONCURRENCY):
            drawn_ms = draw.randint(engine_ms // 2, engine_ms * 3 // 2)
            began = time.perf_counter()
            await call(drawn_ms)
            latencies.append((time.perf_counter() - began) * 1000 - drawn_ms)

    await asyncio.gather(*map(caller, range(CONCURRENCY)))
    return latencies


def _p50_p99(latencies: list[float]) -> tuple[float, float]:
    cuts = quantiles(latencies, n=100)
    return cuts[49], cuts[98]


async def _direct(llm: LLMClient, engine_ms: int) -> None:
    request = GenerateRequest(
        messages=[ChatMessage("user", QUESTION.format(next(NUMBER)))], seed=engine_ms
    )
    async for _ in llm.generate(request, RequestContext(Deadline.after(30))):
        pass


def _in_process(url: str) -> Call:
    """Our app without the server before it: what our own code costs."""
    from bench.gateway_services import app, drain, gateway_before, settings

    app.state.gateway = gateway_before(url)
    asgi = wrap(app, settings, drain)

    async def call(engine_ms: int) -> None:
        body = json.dumps(_body("small", engine_ms)).encode()
        messages: list[Message] = [{"type": "http.request", "body": body}]
        done = asyncio.Event()
        statuses = []

        async def receive() -> Message:
            if not messages:
                await done.wait()
                return {"type": "http.disconnect"}
            return messages.pop()

        async def send(message: Message) -> None:
            statuses.append(message.get("status"))

        path = "/v1/chat/completions"
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
        }
        await asgi(scope, receive, send)
        if statuses[0] != HTTPStatus.OK:
            raise AssertionError(statuses)

    return call


def _body(model: str, engine_ms: int) -> dict[str, object]:
    messages = [{"role": "user", "content": QUESTION.format(next(NUMBER))}]
    return {"model": model, "messages": messages, "seed": engine_ms}


class _Answer:
    """What the parser of an answer calls."""

    complete = False

    def on_message_complete(self) -> None:
        """All of it is here."""
        self.complete = True


class _Connections:
    """Connections to one server, as many as are used at once."""

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://").split(":")
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._used_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for _, writer in self._idle:
            writer.close()

    async def chat(self, fields: dict[str, object]) -> None:
        """Ask, and read the whole answer. Raises AssertionError for any but a 200."""
        body = json.dumps(fields).encode()
        reader, writer = await self._connection()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            data = await reader.read(1 << 16)
            if not data:
                raise AssertionError("the server hung up amid an answer")
            parser.feed_data(data)
        if parser.get_status_code() != HTTPStatus.OK:
            raise AssertionError(parser.get_status_code())
        self._idle.append((reader, writer))
        self._used_at = time.monotonic()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        fresh = time.monotonic() < self._used_at + FRESH_S
        while self._idle:
            reader, writer = self._idle.pop()
            if fresh and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(*self._address)


def _worker(service: str) -> psutil.Process:
    for process in psutil.Process().children(recursive=True):
        arguments = process.cmdline()
        if "--service-name" in arguments and service in arguments:
            return process
    raise AssertionError(f"no worker serves {service}")


@contextmanager
def _upstream(port: int) -> Generator[None, None, None]:
    process = subprocess.Popen([sys.executable, "-m", "bench.provider", str(port)])  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)
