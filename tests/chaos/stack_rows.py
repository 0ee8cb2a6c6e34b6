"""The rows that need everything: each process of the real stack is killed and stopped."""

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.load import Outcome, Shot, fire, judge, kinds, question
from tests.chaos.row import Row, misses, percentile
from tests.support.stack import Stack

INNER = ("Router", "Reranker", "Embedding", "Safety", "SmallLLM")
LOAD_PER_S, LOAD_S = 1.0, 5.0
BACK_LIMIT_S = 120.0
NOTICE_S = 1.0
READYZ_S = 0.1


@dataclass
class Round:
    """One process killed or stopped once."""

    service: str
    number: int
    errors: list[Outcome] = field(default_factory=list)
    asked: int = 0
    degraded: set[str] = field(default_factory=set)
    noticed_s: float | None = None
    back_s: float = BACK_LIMIT_S
    load_s: float = 0.0
    stream_ended_s: float | None = None
    stream_end: str = "none"
    readyz_ms: list[float] = field(default_factory=list)


async def kill_round(stack: Stack, service: str, number: int) -> Round:
    """Kill or stop the service's process under load; watch until it is back."""
    result = Round(service, number)
    stream = await _open_stream(stack.url) if service == "SmallLLM" else None
    worker = stack.worker(service)
    asked = fire(stack.url, LOAD_PER_S, LOAD_S, lambda n: question(n, max_tokens=4))
    async with asyncio.TaskGroup() as tasks:
        load = tasks.create_task(asked)
        await asyncio.sleep(1)
        began = time.monotonic()
        os.kill(worker.pid, signal.Signals(number))
        tasks.create_task(_watch(stack.url, service, began, result))
        if stream is not None:
            ended, result.stream_end, _ = await stream
            result.stream_ended_s = ended - began
    outcomes = load.result()
    result.asked = len(outcomes)
    result.errors = kinds(outcomes, "error", "broken", "refused")
    result.degraded = {what for outcome in outcomes for what in outcome.degraded}
    result.load_s = _load_s(stack.log, service)
    return result


async def _open_stream(url: str) -> "asyncio.Task[tuple[float, str, str]]":
    """A long story of which the first words have come."""
    streaming = asyncio.Event()
    stream = asyncio.create_task(_long_stream(url, streaming))
    first = asyncio.create_task(streaming.wait())
    await asyncio.wait([stream, first], timeout=60, return_when=asyncio.FIRST_COMPLETED)
    first.cancel()
    return stream


async def _long_stream(url: str, streaming: asyncio.Event) -> tuple[float, str, str]:
    """Ask for a long story; when and how its stream ended."""
    shot = Shot(
        body={
            "query": "Write a very long story.",
            "documents": ["A tower stood by a river."],
            "stream": True,
            "max_tokens": 2000,
            "temperature": 2.0,
            "seed": 1,
        }
    )
    text = ""
    timeout = aiohttp.ClientTimeout(total=120)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url + shot.path, json=shot.body) as response,
    ):
        try:
            async for line in response.content:
                text += line.decode()
                if "rag.delta" in text:
                    streaming.set()
        except aiohttp.ClientError as error:
            return time.monotonic(), "broken", str(error)
        end, detail, _ = judge(response.status, text, stream=True)
    return time.monotonic(), end, detail


async def _watch(url: str, service: str, began: float, result: Round) -> None:
    """Ask `/readyz` until the service was seen away and is back."""
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while time.monotonic() - began < BACK_LIMIT_S:
            asked = time.monotonic()
            state = await _state(session, url, service)
            result.readyz_ms.append((time.monotonic() - asked) * 1000)
            now = time.monotonic() - began
            if state != "ready" and result.noticed_s is None:
                result.noticed_s = now
            # A router that is replaced within a blink may never be seen away.
            if state == "ready" and (result.noticed_s is not None or now > 20):
                result.back_s = now if result.noticed_s is not None else 0.0
                return
            await asyncio.sleep(0.05)


async def _state(session: aiohttp.ClientSession, url: str, service: str) -> str:
    try:
        async with session.get(f"{url}/readyz") as response:
            body: dict[str, Any] = json.loads(await response.text())
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return "no answer"
    return str(body.get("services", {}).get(service, "unknown"))


def _load_s(log: Path, service: str) -> float:
    """How long its last start took, by its own word."""
    times = re.findall(rf"{service} is ready after ([0-9.]+) s", log.read_text())
    return float(times[-1]) if times else 0.0


async def kills(stack: Stack, rounds: int, say: Callable[[str], None]) -> AsyncGenerator[Row, None]:
    """Each process in turn, killed in half of the rounds and stopped in the other half."""
    todo = [(turn, service) for turn in range(rounds) for service in INNER]
    for number, of_turn in ((signal.SIGKILL, 0), (signal.SIGSTOP, 1)):
        done: list[Round] = []
        failures: list[str] = []
        for turn, service in todo:
            # A single round is of both signals, by turns.
            if (turn if rounds > 1 else INNER.index(service)) % 2 != of_turn:
                continue
            say(f"{number.name} of {service}, round {turn + 1} of {rounds}")
            try:
                done.append(await kill_round(stack, service, number))
            except Exception as error:  # noqa: BLE001  it is told in the row; the next round runs
                failures.append(f"{service}: {error!r}".replace("|", "/"))
        if done:
            yield _kill_row(number, done, failures)


def _kill_row(number: int, rounds: list[Round], failures: list[str]) -> Row:
    name = signal.Signals(number).name
    errors = sum(len(r.errors) for r in rounds)
    asked = sum(r.asked for r in rounds)
    noticed = [r.noticed_s for r in rounds if r.noticed_s is not None]
    over = [r.back_s - r.load_s for r in rounds]
    streams = [r for r in rounds if r.service == "SmallLLM" and r.stream_ended_s is not None]
    readyz_ms = percentile([ms for r in rounds for ms in r.readyz_ms], 0.99)
    degraded = sorted(set().union(*(r.degraded for r in rounds)))
    ends = ", ".join(
        f"{count} {end}" for end, count in Counter(r.stream_end for r in streams).items()
    )
    ended = [r.stream_ended_s for r in streams if r.stream_ended_s is not None]
    services = ", ".join(dict.fromkeys(r.service for r in rounds))
    return Row(
        f"{name} of each child under load ({services}; {len(rounds)} rounds)",
        "0 client errors on questions; noticed within 1 s; open streams end in a typed error "
        "within 1 s; back within load time + 2 s; /readyz answers within 100 ms",
        f"{errors} errors of {asked} (degraded: {', '.join(degraded) or 'nothing'}); noticed after "
        f"at most {max(noticed, default=0):.2f} s; streams: {ends or 'none'}, after at most "
        f"{max(ended, default=0):.2f} s; "
        f"back at most {max(over):.1f} s beyond load time; /readyz p99 {readyz_ms:.0f} ms"
        f"{f'; {len(failures)} rounds failed ({failures[0][:80]})' if failures else ''}",
        misses(
            no_errors=errors == 0,
            all_rounds=not failures,
            noticed=max(noticed, default=0) <= NOTICE_S,
            streams_typed=all(r.stream_end == "error" for r in streams),
            streams_in_time=max(ended, default=0) <= 1,
            back=max(over) <= 2,
            readyz=readyz_ms <= READYZ_S * 1000,
        ),
    )
