"""The requests that `tiffin bench` sends, and what one of them saw.

Each text has a number in it, so that nothing is known from before, except where a repeat is meant.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx2

from tiffin.cli.questions import Asked

MAX_TOKENS = 64
PASSAGES, TEXTS = 10, 8
BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_PASSAGE = (
    "Depot {n} stands at the edge of the harbour and was opened in {year}. It keeps {n} crates "
    "on {floors} floors, most of them tools, rope and paint for the shipyard next door. Two lifts "
    "carry them, and a night watch of {guards} people looks after the doors. Goods that nobody "
    "fetches within {days} days are sold on the first Monday of the month, and the money goes to "
    "the fund for the harbour museum, which the depot's owners founded."
)


@dataclass(frozen=True)
class Shot:
    """One request to send. `kind` is its name in the mix."""

    kind: str
    path: str
    body: dict[str, Any]


@dataclass
class Outcome:
    """What one request saw. Seconds count from when it should have left.

    `end` is `ok`, `refused` (429 or 503), or what went wrong. `first_s` is None if nothing streams.
    """

    kind: str
    end: str = ""
    total_s: float = 0.0
    first_s: float | None = None
    gaps_s: list[float] = field(default_factory=list)
    stages_ms: dict[str, float] = field(default_factory=dict)


def passages(number: int, count: int) -> list[str]:
    """So many passages of about 90 tokens that no other number has."""
    first = number * count
    return [
        _PASSAGE.format(n=n, year=1800 + n % 200, floors=2 + n % 7, guards=3 + n % 9, days=30 + n)
        for n in range(first, first + count)
    ]


def makers(own: Sequence[Asked]) -> dict[str, Callable[[int], Shot]]:
    """What makes the request of a number, by the kind. `own` questions take the place of ours."""

    def ask(kind: str, query: str, documents: Sequence[str]) -> Shot:
        body = {"query": query, "documents": documents, "stream": True, "max_tokens": MAX_TOKENS}
        return Shot(kind, "/rag_query", body)

    def question(number: int) -> Shot:
        if own:
            asked = own[number % len(own)]
            return ask("question", asked.question, asked.texts())
        depot = number * PASSAGES + number % PASSAGES
        return ask("question", f"When was depot {depot} opened?", passages(number, PASSAGES))

    def unanswerable(number: int) -> Shot:
        query = f"Who painted portrait {number} in the town hall?"
        return ask("unanswerable", query, passages(number, PASSAGES))

    def repeat(_: int) -> Shot:
        return ask("repeat", "When was depot 3 opened?", passages(0, PASSAGES))

    def chat(number: int) -> Shot:
        said = f"Name {number % 7 + 3} things that one finds in a harbour, in one sentence."
        messages = [{"role": "user", "content": f"{said} (Letter {number})"}]
        body = {"model": "auto", "messages": messages, "stream": True, "max_tokens": MAX_TOKENS}
        return Shot("chat", "/v1/chat/completions", body)

    def embeddings(number: int) -> Shot:
        return Shot("embeddings", "/embed", {"inputs": passages(number, TEXTS)})

    def rerank(number: int) -> Shot:
        body = {"query": "Which depot is the oldest?", "documents": passages(number, PASSAGES)}
        return Shot("rerank", "/v1/rerank", body)

    return {
        make.__name__: make for make in (question, unanswerable, repeat, chat, embeddings, rerank)
    }


async def send(client: httpx2.AsyncClient, shot: Shot, due: float) -> Outcome:
    """Send one request and read its answer to the end. Never raises for what the server does.

    `due` is when it should have left, in seconds of `time.perf_counter`.
    """
    outcome = Outcome(shot.kind)
    try:
        async with client.stream("POST", shot.path, json=shot.body) as response:
            if response.status_code in BUSY:
                outcome.end = "refused"
            elif not response.is_success:
                outcome.end = f"status {response.status_code}"
            elif shot.body.get("stream"):
                await _read(response.aiter_lines(), outcome, due)
            else:
                await response.aread()
                outcome.end = "ok"
    except httpx2.HTTPError as error:
        outcome.end = type(error).__name__
    outcome.total_s = time.perf_counter() - due
    return outcome


async def _read(lines: AsyncIterator[str], outcome: Outcome, due: float) -> None:
    """The frames of a stream, until it says that it is whole."""
    outcome.end = "broken off"
    before = 0.0
    async for line in lines:
        if line == "data: [DONE]":
            outcome.end = outcome.end if outcome.end == "error" else "ok"
        if not line.startswith("data: {"):
            continue
        frame = json.loads(line.removeprefix("data: "))
        if "error" in frame:
            outcome.end = "error"
        outcome.stages_ms.update(frame.get("timings") or {})
        if _text(frame):
            now = time.perf_counter()
            if outcome.first_s is None:
                outcome.first_s = now - due
            else:
                outcome.gaps_s.append(now - before)
            before = now


def _text(frame: dict[str, Any]) -> str:
    """The text that a frame brings: of `rag.delta`, or of a chat's chunk."""
    if frame.get("object") == "rag.delta":
        return str(frame.get("text") or "")
    return "".join(choice["delta"].get("content") or "" for choice in frame.get("choices") or ())
