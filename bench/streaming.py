"""What streaming through the entry service costs in tokens per second, with the real small LLM.

The same answer, by the same seed, from llama.cpp bare in this process, as server-sent events from
its own HTTP server, from the LLM's service asked directly, and as server-sent events from
`/v1/chat/completions`. A client of a stream costs time itself, so the second is what a client of
the bare engine gets. The ways take turns, so that a busy moment hits all. Pieces of an answer may
differ where rounding led to another word: of a prompt, what is cached is not computed again.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import psutil
import uvloop
import xllamacpp

from bench.table import Table
from models.catalog import load_catalog
from models.engines.cores import free_cores
from models.engines.llama_cpp import STEP_TOKENS
from models.store import Store
from models.values import ChatMessage, Finished, GenerateRequest, TextDelta
from tests.support.stack import Stack, running_stack
from tiffin.clients import LLMClient
from tiffin.config.serving import TierSettings
from tiffin.config.settings import load_settings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline

ROUNDS, MAX_TOKENS, SEED = 15, 128, 7
REACH = 0.98
TURNS = [{"role": "user", "content": "Tell a long story about a river and the towns beside it."}]


class Pieces(list[str]):
    """The pieces of a text in their order, and when each came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[float] = []

    def take(self, pieces: list[str]) -> None:
        """These came now."""
        self += pieces
        self.came += [time.perf_counter()] * len(pieces)

    def longest_wait_ms(self) -> float:
        """Between two of them, but for one in a hundred."""
        waits = [(after - before) * 1000 for before, after in pairwise(self.came)]
        return quantiles(waits, n=100)[98]


Answer = tuple[Pieces, int]
"""An answer, and how many tokens it is."""

BARE, SERVED = "llama.cpp, in process", "llama.cpp, streamed by its own server"
DIRECT, CHAT = "SmallLLM, asked directly", "Tiffin, streamed chat"


@dataclass(frozen=True)
class Way:
    """One way to ask once, and the processes that work for it."""

    name: str
    ask: Callable[[], Awaitable[Answer]]
    processes: list[psutil.Process]
    tokens_per_s: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)

    async def measure(self, expected: Answer) -> None:
        """Ask once more. Raises AssertionError for an answer that is not as long as expected."""
        cpu_s, began = self._cpu_s(), time.perf_counter()
        answer = await self.ask()
        took_s = time.perf_counter() - began
        if answer[1] != expected[1]:
            raise AssertionError(f"{self.name}: {answer[1]} tokens instead of {expected[1]}")
        self.tokens_per_s.append(answer[1] / took_s)
        self.cpu_ms.append((self._cpu_s() - cpu_s) * 1000 / answer[1])
        self.waits_ms.append(answer[0].longest_wait_ms())

    def _cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)

    def row(self, *baselines: "Way") -> tuple[str, ...]:
        """Its line of the table; the ratios are those of the rounds' own."""
        speeds = self.tokens_per_s
        cells = [f"{value:.1f}" for value in (median(speeds), max(speeds), min(speeds))]
        ratios = [f"{self._ratio_to(baseline):.3f}" for baseline in baselines]
        return (
            self.name,
            *cells,
            *ratios,
            *(f"{median(values):.2f}" for values in (self.cpu_ms, self.waits_ms)),
        )

    def _ratio_to(self, baseline: "Way") -> float:
        pairs = zip(self.tokens_per_s, baseline.tokens_per_s, strict=True)
        return median(own / base for own, base in pairs)


def run() -> Table:
    """Start the stack with as many threads as the bare engine has, measure, stop it."""
    threads, load = free_cores(), os.getloadavg()[0]
    environment = {"TIFFIN_PROFILE": "laptop", "TIFFIN_TIERS__SMALL__THREADS": str(threads)}
    with (
        tempfile.TemporaryDirectory() as directory,
        running_stack(Path(directory), **environment) as stack,
    ):
        ways, tokens = uvloop.run(_measure(stack, threads))
    return Table(
        "Streaming, the same answer of the small LLM",
        (
            "way",
            "tokens/s",
            "best round",
            "worst round",
            "ratio to in process",
            "ratio to its server",
            "CPU ms a token",
            "p99 ms between tokens",
        ),
        [way.row(*ways[:2]) for way in ways],
        f"{ROUNDS} rounds of one answer of {tokens} tokens each, threads: {threads}; medians, of"
        f" the ratio too. To reach: {REACH}."
        f" Load average when it began: {load:.1f}.",
    )


async def _measure(stack: Stack, threads: int) -> tuple[list[Way], int]:
    """All ways with their rounds, and the tokens of an answer."""
    tier = load_settings(profile="laptop").tiers["small"]
    bare = await asyncio.to_thread(bare_server, tier, threads)
    llm = LLMClient("SmallLLM", stack.service_urls()["SmallLLM"])
    service, entry = stack.worker("SmallLLM"), stack.worker("RAG")
    async with aiohttp.ClientSession() as session:
        ways = [
            Way(BARE, lambda: asyncio.to_thread(_bare, bare), [psutil.Process()]),
            Way(SERVED, lambda: chat(session, bare.listening_address), [psutil.Process()]),
            Way(DIRECT, lambda: _direct(llm), [service]),
            Way(CHAT, lambda: chat(session, stack.url), [service, entry]),
        ]
        answers = [await way.ask() for way in ways]  # from here the prompt is in their caches
        for _ in range(ROUNDS):
            for way in ways:
                await way.measure(answers[0])
    await llm.close()
    return ways, answers[0][1]


def bare_server(tier: TierSettings, threads: int) -> Any:  # noqa: ANN401  it has no types
    """llama.cpp with the settings of the tier and nothing of ours around it."""
    folder = Store(load_settings().home).path(load_catalog().get(tier.model))
    params = xllamacpp.CommonParams()
    params.model.path = str(next(folder.glob("*.gguf")))
    params.verbosity = -1
    params.n_parallel = tier.parallel
    params.n_ctx = tier.parallel * tier.context_tokens
    params.n_batch = params.n_ubatch = STEP_TOKENS
    params.cache_ram_mib = 0
    params.port = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(params)


def _bare(server: Any) -> Answer:  # noqa: ANN401
    pieces = Pieces()
    tokens = 0

    def on_chunk(chunk: dict[str, Any]) -> bool:
        nonlocal tokens
        pieces.take(_texts(chunk))
        tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
        return False

    options = {"include_usage": True}
    body = {"messages": TURNS, "stream": True, "stream_options": options, **_sampling()}
    server.handle_chat_completions(body, on_chunk)
    return pieces, tokens


async def _direct(llm: LLMClient) -> Answer:
    messages = [ChatMessage("user", TURNS[0]["content"])]
    request = GenerateRequest(messages=messages, **_sampling())
    pieces = Pieces()
    async for event in llm.generate(request, RequestContext(Deadline.after(120))):
        if isinstance(event, TextDelta):
            pieces.take([event.text])
        elif isinstance(event, Finished):
            return pieces, event.usage.completion_tokens
    raise AssertionError("the answer had no end")


async def chat(session: aiohttp.ClientSession, url: str, max_tokens: int = 0) -> Answer:
    """One streamed answer. Raises AssertionError for one that breaks off."""
    options = {"include_usage": True}
    body = {"model": "small", "messages": TURNS, "stream": True, "stream_options": options}
    body |= _sampling(max_tokens)
    pieces = Pieces()
    tokens = 0
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        if response.status != HTTPStatus.OK:
            raise AssertionError(await response.text())
        async for chunk in _chunks(response):
            pieces.take(_texts(chunk))
            tokens = chunk.get("usage", {}).get("completion_tokens", tokens)
    return pieces, tokens


def _sampling(max_tokens: int = 0) -> dict[str, Any]:
    """Read when asked, as a trial makes answers shorter."""
    return {"temperature": 0.0, "seed": SEED, "max_tokens": max_tokens or MAX_TOKENS}


def _texts(chunk: dict[str, Any]) -> list[str]:
    """The text that a chunk brings, if any."""
    deltas = [choice["delta"] for choice in chunk.get("choices", ())]
    return [delta["content"] for delta in deltas if delta.get("content")]


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
    """The chunks of a stream, which must end with [DONE]."""
    last = b""
    async for line in response.content:
        if line.startswith(b"data: "):
            last = line[6:].strip()
            if last != b"[DONE]":
                yield json.loads(last)
    if last != b"[DONE]":
        raise AssertionError("the stream had no end")
