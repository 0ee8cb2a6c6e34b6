"""A whole question, compared with the RAG pipelines of BentoML's documentation and of Haystack.

The same weights, the same ten passages, answers of at most as many tokens. Tiffin answers as its
laptop profile does (`quote`) and by the LLM (`small`); the peers, `bench.stock_services` and
`bench/haystack_pipelines` served by hayhooks, know only the second. Haystack has no engine for an
LLM on a CPU: it asks llama.cpp's own server. They take turns, so that a busy moment hits all.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from statistics import median
from threading import Lock

import bentoml
import httpx2

from bench.encoders import question_over
from bench.peers import hayhooks
from bench.serving import PeerUnavailable, bento
from bench.streaming import bare_server
from bench.table import Table
from models.catalog import load_catalog
from models.engines.cores import free_cores
from models.store import Store
from tests.support.stack import free_port, running_stack
from tiffin.config.settings import load_settings

PASSAGES_EACH, MAX_TOKENS = 10, 64
ROUNDS, WARM_UP = 9, 2
CALLERS, WINDOWS, WINDOW_S = 4, 3, 20
REACH = 1.5
PEER, HAYHOOKS = "stock BentoML, written", "Haystack by hayhooks, written"

Ask = Callable[[str, list[str]], str]


def run() -> Table:
    """Start both, measure, stop them."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running_stack(Path(directory), TIFFIN_PROFILE="laptop") as stack,
        bento("bench.stock_services:StockQuestion") as stock,
        httpx2.Client(base_url=stack.url, timeout=120) as tiffin,
        httpx2.Client(base_url=stock, timeout=120) as peer,
        ExitStack() as others,
    ):
        bentoml.SyncHTTPClient(stock, server_ready_timeout=120).close()
        ways = {
            "Tiffin, quoted": _of_tiffin(tiffin, "quote"),
            "Tiffin, written": _of_tiffin(tiffin, "small"),
            PEER: _of_stock(peer),
        }
        try:
            ways[HAYHOOKS] = _of_hayhooks(others, Path(directory, "hayhooks"))
            peers_note = _agree(ways[PEER], ways[HAYHOOKS])
        except PeerUnavailable as error:
            peers_note = f"Without hayhooks, because it did not run here: {error}."
        alone_s = _alone(ways)
        rates = _crowded(ways)
    return _table(alone_s, rates, peers_note)


def _of_tiffin(client: httpx2.Client, model: str) -> Ask:
    def ask(query: str, documents: list[str]) -> str:
        body = {"query": query, "documents": documents, "model": model, "max_tokens": MAX_TOKENS}
        return str(client.post("/rag_query", json=body).raise_for_status().json()["answer"])

    return ask


def _of_stock(client: httpx2.Client) -> Ask:
    def ask(query: str, documents: list[str]) -> str:
        body = {"query": query, "documents": documents, "max_tokens": MAX_TOKENS}
        return str(client.post("/answer", json=body).raise_for_status().json()["answer"])

    return ask


def _of_hayhooks(stack: ExitStack, folder: Path) -> Ask:
    settings = load_settings(profile="laptop")
    store, catalog = Store(settings.home), load_catalog()
    tier = settings.tiers["small"]
    llm = bare_server(tier, free_cores())
    stack.callback(lambda: llm)  # it ends when nothing refers to it
    embedder, reranker = (
        str(store.path(catalog.get(name)))
        for name in (settings.embedding.model, settings.reranker.model)
    )
    served = hayhooks(
        folder,
        free_port(),
        BENCH_EMBEDDER=embedder,
        BENCH_RERANKER=reranker,
        BENCH_LLM=f"{llm.listening_address}/v1",
    )
    client = stack.enter_context(httpx2.Client(base_url=stack.enter_context(served), timeout=120))

    def ask(query: str, documents: list[str]) -> str:
        body = {"query": query, "documents": documents, "max_tokens": MAX_TOKENS}
        answered = client.post("/question/run", json=body).raise_for_status().json()
        return str(answered["result"]["answer"])

    return ask


def _agree(one: Ask, other: Ask) -> str:
    """How often two peers, with the same candidates and prompt, give the same answer."""
    asked = [question_over(-number, PASSAGES_EACH) for number in range(1, ROUNDS + 1)]
    same = sum(one(*each) == other(*each) for each in asked)
    return f"The two peers gave the same answer to {same} of {len(asked)} questions."


def _alone(ways: dict[str, Ask]) -> dict[str, list[float]]:
    """Seconds of each question, one at a time; each is asked all ways, one after the other."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP + ROUNDS):
        for version, (name, ask) in enumerate(ways.items()):
            query, texts = question_over(number, PASSAGES_EACH, version)
            began = time.perf_counter()
            ask(query, texts)
            took[name].append(time.perf_counter() - began)
    return {name: seconds[WARM_UP:] for name, seconds in took.items()}


def _crowded(ways: dict[str, Ask]) -> dict[str, list[float]]:
    """Questions answered per second of each window; in a window several callers ask one way."""
    work = (question_over(number, PASSAGES_EACH) for number in count(WARM_UP + ROUNDS))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(WINDOWS):
        for name, ask in ways.items():
            rates[name].append(_rate(ask, work))
    return rates


def _rate(ask: Ask, work: Iterator[tuple[str, list[str]]]) -> float:
    began = time.perf_counter()
    turn = Lock()

    def caller(_: int) -> int:
        answered = 0
        while time.perf_counter() < began + WINDOW_S:
            with turn:
                query, documents = next(work)
            with suppress(httpx2.HTTPStatusError):  # not answered
                ask(query, documents)
                answered += 1
        return answered

    with ThreadPoolExecutor(CALLERS) as callers:
        answered = sum(callers.map(caller, range(CALLERS)))
    return answered / (time.perf_counter() - began)


def _table(
    alone_s: dict[str, list[float]], rates: dict[str, list[float]], peers_note: str
) -> Table:
    rows = []
    for name, seconds in alone_s.items():
        faster = [theirs / ours for theirs, ours in zip(alone_s[PEER], seconds, strict=True)]
        more = [ours / theirs for theirs, ours in zip(rates[PEER], rates[name], strict=True)]
        rows.append(
            (
                name,
                f"{median(seconds):.2f}",
                f"{min(seconds):.2f}, {max(seconds):.2f}",
                f"{median(faster):.2f}",
                f"{median(rates[name]):.2f}",
                f"{min(rates[name]):.2f}, {max(rates[name]):.2f}",
                f"{median(more):.2f}",
            )
        )
    return Table(
        f"A whole question over {PASSAGES_EACH} passages, compared with stock BentoML and Haystack",
        (
            "answered by",
            "p50 alone, s",
            "best, worst",
            "times as fast",
            f"questions/s of {CALLERS} callers",
            "worst, best",
            "times as many",
        ),
        rows,
        f"{ROUNDS} questions alone and {WINDOWS} windows of {WINDOW_S} s, in turns. To reach: "
        f"{REACH} times as fast and as many. {peers_note}",
    )
