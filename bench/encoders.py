"""Embedding and reranking through Tiffin, compared with libraries and a server for it.

The same weights, texts, truncation and threads. Tiffin and infinity are asked over HTTP, with one
request for all texts; sentence-transformers runs in this process, and in others on ONNX Runtime and
OpenVINO, as does fastembed. They take turns, so that a busy moment hits all.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import numpy as np
from sentence_transformers import CrossEncoder, SentenceTransformer

from bench.peers import (
    BACKENDS,
    FASTEMBED,
    TORCH,
    export,
    infinity,
    install,
    library,
)
from bench.serving import PeerUnavailable
from bench.table import Table
from models.catalog import load_catalog
from models.engines.cores import free_cores
from models.store import Store
from tests.support.stack import free_port, running_stack
from tiffin.config.settings import load_settings
from tiffin.core.scores import sigmoid

ROUNDS, REACH = 11, 1.1
LIBRARY, OURS = "sentence-transformers", "Tiffin"
PASSAGES = Path("tests/data/passages.json")
QUESTION = "When was the tower built, and for what?"
TEXTS, PAIRS, WORDS = 64, 10, 112
"""112 words of these passages are about 150 tokens."""
KEPT = httpx2.Limits(keepalive_expiry=3)
"""Servers close a connection that was idle for 5 s, as it is during the turns of others."""


def texts_of(count: int, shift: int = 0) -> list[str]:
    """Different texts of about 150 tokens each; with another `shift`, others."""
    passages = json.loads(PASSAGES.read_text(encoding="utf-8"))["passages"]
    words = " ".join(passages).split()
    starts = [(number * 37 + shift) % (len(words) - WORDS) for number in range(count)]
    return [" ".join(words[start : start + WORDS]) for start in starts]


def question_over(number: int, count: int, version: int = 0) -> tuple[str, list[str]]:
    """The question of that number, over `count` passages, the last of which answers.

    Vectors of known passages are kept, so those of another number or version (0 to 3) are others.
    """
    new = 4 * number + version
    data = json.loads(PASSAGES.read_text(encoding="utf-8"))
    asked = data["questions"][number % len(data["questions"])]
    answers = f"{data['passages'][asked['passage']]} This is passage {new}."
    return asked["question"], [*texts_of(count - 1, shift=3 + new), answers]


def run() -> str:
    """Start the stack and the peer, measure, stop them."""
    import torch

    settings = load_settings(profile="laptop")
    store, catalog = Store(settings.home), load_catalog()
    names = settings.embedding.model, settings.reranker.model
    embedder, judge = (store.path(catalog.get(name)) for name in names)
    threads = free_cores()
    torch.set_num_threads(threads)
    variables = {
        "TIFFIN_PROFILE": "laptop",
        "TIFFIN_EMBEDDING__THREADS": str(threads),
        "TIFFIN_RERANKER__THREADS": str(threads),
    }
    with (
        tempfile.TemporaryDirectory() as directory,
        running_stack(Path(directory), **variables) as stack,
        httpx2.Client(base_url=stack.url, timeout=120, limits=KEPT) as client,
        ExitStack() as peers,
    ):
        ways = {
            LIBRARY: _library(embedder, judge),
            OURS: _served(client, "/v1", *names),
        }
        missing = _join(ways, peers, Path(directory), threads, embedder, judge)
        texts, some = texts_of(TEXTS), texts_of(PAIRS)
        rows = [
            *_rows("embed one query", "embed", [QUESTION], ways),
            *_rows(f"embed {TEXTS} texts of 150 tokens", "embed", texts, ways),
            *_rows(f"rerank {PAIRS} pairs of 165 tokens", "rerank", some, ways),
        ]
    return str(
        Table(
            "Encoders, compared with sentence-transformers, fastembed and infinity",
            ("work", "by", "p50, ms", "Tiffin is times as fast", "worst, best", "differs by"),
            rows,
            f"{ROUNDS} rounds in turns, {threads} threads each, medians. To reach: {REACH} times "
            f"as fast as {LIBRARY}, and .95 of the fastest peer."
            + "".join(
                f" Without {name}, because it did not run here: {why}" for name, why in missing
            ),
        )
    )


@dataclass(frozen=True)
class Way:
    """How one side embeds texts and scores texts for the question."""

    embed: Callable[[list[str]], Any]
    rerank: Callable[[list[str]], Any]


def _library(embedder: Path, judge: Path) -> Way:
    """sentence-transformers in this process."""
    embeds = SentenceTransformer(str(embedder), device="cpu")
    judges = CrossEncoder(str(judge), device="cpu")
    return Way(
        lambda texts: embeds.encode(texts, normalize_embeddings=True),
        lambda texts: sigmoid(judges.predict([(QUESTION, text) for text in texts])),
    )


def _join(
    ways: dict[str, Way], stack: ExitStack, folder: Path, threads: int, *models: Path
) -> list[tuple[str, str]]:
    """Add the peers that install and start; those that do not, and why."""
    missing = []
    backends, light = folder / "backends", folder / "fastembed"

    def piped(home: Path, name: str, models: Sequence[Path], *packages: str) -> Way:
        if packages:
            install(home, *packages)
        call = stack.enter_context(library(home, name, *models, threads=threads))
        return Way(partial(call, "embed"), lambda texts: call("rerank", [QUESTION, *texts]))

    joining: dict[str, Callable[[], Way]] = {
        f"{LIBRARY}, ONNX": lambda: piped(backends, "onnx", models, BACKENDS, TORCH),
        f"{LIBRARY}, OpenVINO": lambda: piped(backends, "openvino", models),
        "fastembed": lambda: piped(light, "fastembed", export(backends, *models), FASTEMBED),
        "infinity": lambda: _infinity(stack, folder / "infinity", threads, *models),
    }
    for name, join in joining.items():
        try:
            ways[name] = join()
        except PeerUnavailable as error:
            missing.append((name, f"{error}."))
    return missing


def _infinity(stack: ExitStack, folder: Path, threads: int, embedder: Path, judge: Path) -> Way:
    served = infinity(folder, free_port(), threads=threads, embed=embedder, rerank=judge)
    url = stack.enter_context(served)
    client = stack.enter_context(httpx2.Client(base_url=url, timeout=120, limits=KEPT))
    return _served(client, "", "embed", "rerank")


def _rows(work: str, task: str, texts: list[str], ways: dict[str, Way]) -> list[list[str]]:
    calls = {way: partial(getattr(side, task), texts) for way, side in ways.items()}
    results = {way: np.asarray(call()) for way, call in calls.items()}
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, call in calls.items():
            took[way].append(_ms(call))
    rows = []
    for way, ms in took.items():
        ratios = sorted(theirs / ours for theirs, ours in zip(ms, took[OURS], strict=True))
        differs = np.abs(results[way] - results[LIBRARY]).max()
        cells = [f"{median(ms):.1f}", f"{median(ratios):.2f}", f"{ratios[0]:.2f}, {ratios[-1]:.2f}"]
        rows.append([work, way, *cells, f"{differs:.0e}"])
    return rows


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _served(client: httpx2.Client, base: str, embedder: str, reranker: str) -> Way:
    """A server with routes in the shape of OpenAI and Cohere below `base`."""

    def embed(texts: list[str]) -> list[list[float]]:
        body = {"model": embedder, "input": texts}
        answer = client.post(f"{base}/embeddings", json=body).raise_for_status().json()
        return [item["embedding"] for item in answer["data"]]

    def rerank(texts: list[str]) -> list[float]:
        body = {"model": reranker, "query": QUESTION, "documents": texts}
        answer = client.post(f"{base}/rerank", json=body).raise_for_status().json()
        scores = {item["index"]: item["relevance_score"] for item in answer["results"]}
        return [scores[index] for index in range(len(texts))]

    return Way(embed, rerank)
