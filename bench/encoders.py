"""Embedding and reranking through Tiffin compared with sentence-transformers alone.

The same weights, texts and truncation. Tiffin is asked over HTTP, with one request for all texts;
the library runs in this process. They take turns, so that a busy moment hits both.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx2
import numpy as np
from sentence_transformers import CrossEncoder, SentenceTransformer

from bench.table import Table
from models.catalog import load_catalog
from models.engines.cores import free_cores
from models.store import Store
from tests.support.stack import Stack, running_stack
from tiffin.config.settings import load_settings
from tiffin.core.scores import sigmoid

ROUNDS, REACH = 11, 1.1
PASSAGES = Path("tests/data/passages.json")
QUESTION = "When was the tower built, and for what?"
TEXTS, PAIRS, WORDS = 64, 10, 112
"""112 words of these passages are about 150 tokens."""


def texts_of(count: int, shift: int = 0) -> list[str]:
    """Different texts of about 150 tokens each; with another `shift`, others."""
    passages = json.loads(PASSAGES.read_text(encoding="utf-8"))["passages"]
    words = " ".join(passages).split()
    starts = [(number * 37 + shift) % (len(words) - WORDS) for number in range(count)]
    return [" ".join(words[start : start + WORDS]) for start in starts]


def run() -> str:
    """Start the stack, measure, stop it."""
    import torch

    settings = load_settings(profile="laptop")
    store, catalog = Store(settings.home), load_catalog()
    embedder, reranker = settings.embedding.model, settings.reranker.model
    threads = free_cores()
    torch.set_num_threads(threads)
    library = SentenceTransformer(str(store.path(catalog.get(embedder))), device="cpu")
    judge = CrossEncoder(str(store.path(catalog.get(reranker))), device="cpu")
    texts, some = texts_of(TEXTS), texts_of(PAIRS)
    pairs = [(QUESTION, text) for text in some]
    variables = {
        "TIFFIN_PROFILE": "laptop",
        "TIFFIN_EMBEDDING__THREADS": str(threads),
        "TIFFIN_RERANKER__THREADS": str(threads),
    }
    with (
        tempfile.TemporaryDirectory() as directory,
        running_stack(Path(directory), **variables) as stack,
        httpx2.Client(base_url=stack.url, timeout=120) as client,
    ):
        works = {
            "embed one query": (
                lambda: library.encode([QUESTION], normalize_embeddings=True),
                lambda: _embedded(client, embedder, [QUESTION]),
            ),
            f"embed {TEXTS} texts of 150 tokens": (
                lambda: library.encode(texts, normalize_embeddings=True),
                lambda: _embedded(client, embedder, texts),
            ),
            f"rerank {PAIRS} pairs of 165 tokens": (
                lambda: sigmoid(judge.predict(pairs)),
                lambda: _reranked(client, reranker, some),
            ),
        }
        rows = [_row(name, stack, *ways) for name, ways in works.items()]
    header = ("work", "library, ms", "Tiffin, ms", "times as fast", "worst, best", "CPU", "differ")
    note = (
        f"{ROUNDS} rounds in turns, {threads} threads each, medians. CPU: ms of a round, of the "
        f"library and of all processes of Tiffin. To reach: {REACH} times as fast."
    )
    title = "Encoders, Tiffin compared with sentence-transformers"
    return str(Table(title, header, rows, note))


def _row(
    name: str, stack: Stack, bare: Callable[[], object], ours: Callable[[], object]
) -> list[str]:
    expected, given = np.asarray(bare()), np.asarray(ours())
    took: list[tuple[float, float]] = []
    cpu_ms = [0.0, 0.0]
    for _ in range(ROUNDS):
        began = time.process_time()
        bare_ms = _ms(bare)
        cpu_ms[0] += (time.process_time() - began) * 1000
        used_s = _cpu_s(stack)
        took.append((bare_ms, _ms(ours)))
        cpu_ms[1] += (_cpu_s(stack) - used_s) * 1000
    ratios = sorted(one / other for one, other in took)
    bare_ms, ours_ms = (median(column) for column in zip(*took, strict=True))
    return [
        name,
        f"{bare_ms:.1f}",
        f"{ours_ms:.1f}",
        f"{median(ratios):.2f}",
        f"{ratios[0]:.2f}, {ratios[-1]:.2f}",
        ", ".join(f"{spent / ROUNDS:.0f}" for spent in cpu_ms),
        f"{np.abs(expected - given).max():.0e}",
    ]


def _cpu_s(stack: Stack) -> float:
    """CPU seconds of all processes of the stack so far."""
    times = [process.cpu_times() for process in stack.processes()]
    return sum(time_.user + time_.system for time_ in times)


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _embedded(client: httpx2.Client, model: str, texts: list[str]) -> list[list[float]]:
    body = {"model": model, "input": texts}
    answer = client.post("/v1/embeddings", json=body).raise_for_status().json()
    return [item["embedding"] for item in answer["data"]]


def _reranked(client: httpx2.Client, model: str, texts: list[str]) -> list[float]:
    body = {"model": model, "query": QUESTION, "documents": texts}
    answer = client.post("/v1/rerank", json=body).raise_for_status().json()
    scores = {item["index"]: item["relevance_score"] for item in answer["results"]}
    return [scores[index] for index in range(len(texts))]
