"""Streamed chats of one and of several callers: Tiffin next to the bare servers of two engines.

The weights of the profile `tiny`, on a CPU. Tiffin and llama.cpp read them as Q4_1; vLLM reads no
GGUF there, so it has a dequantised copy, the catalogue's, and its texts may differ. It keeps a core
for its scheduler; the others have a thread for each. Only one server is asked at a time; they take
turns. vLLM's processes spin for a second after an answer, for which the next in turn must not pay.
"""

import asyncio
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from statistics import median

import aiohttp

from bench.peers import vllm
from bench.serving import PeerUnavailable
from bench.streaming import bare_server, chat
from bench.table import Table
from models.catalog import load_catalog
from models.engines.cores import free_cores
from models.store import Store
from tests.support.stack import free_port, running_stack
from tiffin.config.settings import load_settings

ROUNDS, MAX_TOKENS = 5, 128
SPINS_S = 1.2
"""How long vLLM's processes wait for the next message without sleeping, and a bit."""

CALLERS = (1, 4)
DEQUANTISED = "smollm2-135m-instruct-bf16"
OURS, BARE, PEER = "Tiffin", "llama.cpp's own server", "vLLM's own server"


@dataclass
class Way:
    """One server, and what its callers saw, by how many they were."""

    name: str
    url: str
    rest_s: float = 0.0
    text: str = ""
    tokens_per_s: dict[int, list[float]] = field(default_factory=dict)
    first_ms: dict[int, list[float]] = field(default_factory=dict)

    async def measure(self, session: aiohttp.ClientSession, callers: int) -> None:
        """One answer for each caller, all at once."""
        began = time.perf_counter()
        answers = await asyncio.gather(
            *(chat(session, self.url, MAX_TOKENS) for _ in range(callers))
        )
        took_s = time.perf_counter() - began
        self.text = "".join(answers[0][0])
        self.tokens_per_s.setdefault(callers, []).append(sum(n for _, n in answers) / took_s)
        firsts = [(pieces.came[0] - began) * 1000 for pieces, _ in answers]
        self.first_ms.setdefault(callers, []).append(median(firsts))
        await asyncio.sleep(self.rest_s)

    def rows(self, bare: "Way") -> list[list[str]]:
        """Its lines of the table; the ratio is the median of the rounds' own."""
        same = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(self.text, bare.text)))  # noqa: B905
        rows = []
        for callers, speeds in self.tokens_per_s.items():
            ratio = median(
                own / base for own, base in zip(speeds, bare.tokens_per_s[callers], strict=True)
            )
            cells = [f"{value:.1f}" for value in (median(speeds), max(speeds), min(speeds))]
            first = f"{median(self.first_ms[callers]):.0f}"
            rows.append([str(callers), self.name, *cells, f"{ratio:.2f}", first, str(same)])
        return rows


def run() -> Table:
    """Start all, measure, stop them."""
    settings = load_settings(profile="tiny")
    threads = free_cores()
    bare = bare_server(settings.tiers["small"], threads)
    weights = Store(settings.home).path(load_catalog().get(DEQUANTISED))
    environment = {"TIFFIN_PROFILE": "tiny", "TIFFIN_TIERS__SMALL__THREADS": str(threads)}
    missing = ""
    with (
        tempfile.TemporaryDirectory() as directory,
        running_stack(Path(directory), **environment) as stack,
        ExitStack() as peers,
    ):
        ways = [Way(BARE, bare.listening_address), Way(OURS, stack.url)]
        try:
            served = vllm(Path(directory, "vllm"), free_port(), weights, threads=threads)
            ways.append(Way(PEER, peers.enter_context(served), SPINS_S))
        except PeerUnavailable as error:
            missing = f" Without {PEER}, because it did not run here: {error}."
        asyncio.run(_measure(ways))
    return _table(ways, missing)


async def _measure(ways: list[Way]) -> None:
    async with aiohttp.ClientSession() as session:
        for way in ways:
            await chat(session, way.url, MAX_TOKENS)  # from here the prompt is in their caches
        for callers in CALLERS:
            for _ in range(ROUNDS):
                for way in ways:
                    await way.measure(session, callers)


def _table(ways: list[Way], missing: str) -> Table:
    return Table(
        "Streamed chats of the small LLM, compared with the engines' own servers",
        (
            "callers",
            "by",
            "tokens/s",
            "best round",
            "worst round",
            f"ratio to {BARE}",
            "TTFT, ms",
            "first characters that are the same",
        ),
        sorted(row for way in ways for row in way.rows(ways[0])),
        f"{ROUNDS} rounds in turns of one answer a caller of up to {MAX_TOKENS} tokens; medians."
        f" llama.cpp reads Q4_1, vLLM the same weights in float32.{missing}",
    )
