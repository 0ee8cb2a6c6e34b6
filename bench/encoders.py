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
from tests.support.stack import running_stack
from tiffin.config.settings import load_settings
from tiffin.core.scores import sigmoid

ROUNDS, REACH, MIN_IDLE = 11, 1.1, 0.9
PASSAGES = Path("tests/data/passages.json")
QUESTION = "When was the tower built, and for what?"
TEXTS, PAIRS, WORDS = 64, 10, 112
"""112 words of these passages are about 150 tokens."""


def texts_of(count: int) -> list[str]:
    """Different texts of about 150 tokens each."""
    passages = json.loads(PASSAGES.read_text(encoding="utf-8"))["passages"]
    words = " ".join(passages).split()
    starts = [number * 37 % (len(words) - WORDS) for number in range(count)]
    return [" ".join(words[start : start + WORDS]) for start in starts]


def run() -> str:
    """Start the stack, measure, stop it."""
    import torch

    settings = load_settings(profile="laptop")
    store, catalog = Store(settings.home), load_catalog()
    torch.set_num_threads(free_cores())
    library = SentenceTransformer(
        str(store.path(catalog.get(settings.embedding.model))), device="cpu"
    )
    judge = CrossEncoder(str(store.path(catalog.get(settings.reranker.model))), device="cpu")
    texts, some = texts_of(TEXTS), texts_of(PAIRS)
    pairs = [(QUESTION, text) for text in some]
    with (
        tempfile.TemporaryDirectory() as directory,
        running_stack(Path(directory), TIFFIN_PROFILE="laptop") as stack,
        httpx2.Client(base_url=stack.url, timeout=120) as client,
    ):
        works = {
            "embed one query": (
                lambda: library.encode([QUESTION], normalize_embeddings=True),
                lambda: _embedded(client, settings.embedding.model, [QUESTION]),
            ),
            f"embed {TEXTS} texts of 150 tokens": (
                lambda: library.encode(texts, normalize_embeddings=True),
                lambda: _embedded(client, settings.embedding.model, texts),
            ),
            f"rerank {PAIRS} pairs of 165 tokens": (
                lambda: sigmoid(judge.predict(pairs)),
                lambda: _reranked(client, settings.reranker.model, some),
            ),
        }
        rows = [_row(name, *ways) for name, ways in works.items()]
    return str(
        Table(
            "Encoders, Tiffin compared with sentence-transformers",
            (
                "work",
                "library, ms",
                "Tiffin, ms",
                "times as fast",
                "worst, best round",
                "differs by",
            ),
            rows,
            f"{ROUNDS} rounds in turns, medians. To reach: {REACH} times as fast.",
        )
    )


def _row(name: str, bare: Callable[[], object], ours: Callable[[], object]) -> list[str]:
    expected, given = np.asarray(bare()), np.asarray(ours())
    took: list[tuple[float, float]] = [(_ms(bare), _ms(ours)) for _ in range(ROUNDS)]
    ratios = sorted(one / other for one, other in took)
    bare_ms, ours_ms = (median(column) for column in zip(*took, strict=True))
    return [
        name,
        f"{bare_ms:.1f}",
        f"{ours_ms:.1f}",
        f"{median(ratios):.2f}",
        f"{ratios[0]:.2f}, {ratios[-1]:.2f}",
        f"{np.abs(expected - given).max():.0e}",
    ]


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
