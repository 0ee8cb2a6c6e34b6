"""An open-loop load generator: requests leave by the clock, whatever became of those before.

A latency counts from when the request should have left, so a stall of the server (or of this
process) is seen by every request that it held up: no coordinated omission.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

REFUSED = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
CLIENT_LIMIT_S = 60


@dataclass
class Outcome:
    """What one request saw. `end` is `ok`, `refused`, `error` (typed) or `broken`.

    `took_s` counts from when it should have left; `lag_s` of it is this generator's own delay.
    """

    at_s: float
    took_s: float
    status: int
    end: str
    detail: str = ""
    retry_after: str | None = None
    degraded: tuple[str, ...] = ()
    lag_s: float = 0.0
    tier: str = ""


@dataclass(frozen=True)
class Shot:
    """One request to send."""

    path: str = "/rag_query"
    body: dict[str, Any] | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def stream(self) -> bool:
        """Whether it asks for a stream."""
        return bool(self.body and self.body.get("stream"))


def question(number: int, *, stream: bool = False, **fields: Any) -> Shot:
    """A small question; each differs, so nothing can be remembered."""
    documents = ["The tower is 324 metres tall.", f"Bread number {number} is baked in an oven."]
    body = {"query": f"How tall is the tower {number}?", "documents": documents, **fields}
    return Shot(body={**body, "stream": stream})


async def send(session: aiohttp.ClientSession, url: str, shot: Shot, due: float) -> Outcome:
    """Send one request now and read its answer to the end."""
    status, retry_after, end, detail, tier = 0, None, "broken", "", ""
    lag_s = time.monotonic() - due
    degraded: list[str] = []
    try:
        async with session.request(
            "POST" if shot.body else "GET", url + shot.path, json=shot.body, headers=shot.headers
        ) as response:
            status, retry_after = response.status, response.headers.get("retry-after")
            tier = response.headers.get("x-tiffin-tier", "")
            text = await response.text()
        end, detail, degraded = judge(status, text, stream=shot.stream)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        detail = f"{type(error).__name__}: {error}"
    took_s = time.monotonic() - due
    return Outcome(due, took_s, status, end, detail, retry_after, tuple(degraded), lag_s, tier)


def judge(status: int, text: str, *, stream: bool) -> tuple[str, str, list[str]]:
    """How an answer ended, why, and what it was given without."""
    if status in REFUSED:
        return "refused", text[:200], []
    if stream and status == HTTPStatus.OK:
        frames = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        done = len(frames) > 1 and frames[-1] == "[DONE]"
        text = frames[-2 if done else -1] if frames else ""
        if not done and '"error"' not in text:
            return "broken", "the stream ended without [DONE] and without an error", []
    body = json.loads(text) if text.startswith("{") else {}
    if "error" in body:
        return "error", text[:200], []
    return ("ok" if status == HTTPStatus.OK else "broken"), text[:200], body.get("degraded", [])


async def fire(
    url: str, rate: float, seconds: float, make: Callable[[int], Shot], connections: int = 0
) -> list[Outcome]:
    """`rate` requests a second for so long; returns when the last has ended."""
    timeout = aiohttp.ClientTimeout(total=CLIENT_LIMIT_S)
    connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=2)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        began = time.monotonic()
        sent: list[asyncio.Task[Outcome]] = []
        for number in range(max(1, int(rate * seconds))):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sent.append(asyncio.create_task(send(session, url, make(number), due)))
        return list(await asyncio.gather(*sent))


async def capacity(url: str, seconds: float, make: Callable[[int], Shot], clients: int) -> float:
    """Answers a second with so many clients that never pause: what the server can do."""
    done = 0
    until = time.monotonic() + seconds

    async def client(session: aiohttp.ClientSession, first: int) -> None:
        nonlocal done
        number = first
        while time.monotonic() < until:
            outcome = await send(session, url, make(number), time.monotonic())
            done += outcome.end == "ok"
            number += 1000

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session, first) for first in range(clients)))
    return done / seconds


def tally(outcomes: list[Outcome]) -> str:
    """`180 ok, 20 refused`."""
    return ", ".join(f"{count} {end}" for end, count in Counter(o.end for o in outcomes).items())


def reasons(outcomes: list[Outcome]) -> str:
    """Why those that were not answered were not, the most frequent reasons."""
    whys = Counter(f"{o.status} {o.detail[:110]}" for o in outcomes if o.end != "ok")
    return "; ".join(f"{count}x {why}" for why, count in whys.most_common(3)).replace("|", "/")


def kinds(outcomes: list[Outcome], *ends: str) -> list[Outcome]:
    """Those that ended in one of these ways."""
    return [outcome for outcome in outcomes if outcome.end in ends]
