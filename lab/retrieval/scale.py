"""`python -m lab.retrieval.scale FOLDER --chunks N`: how long a search of N chunks takes.

The store, its searches and its upkeep are the real ones, in this process. Chunks are made of
HaluEval's sentences (`lab.retrieval`): each has the words of five, and as its vector a mixture of
what the default embedder says of the first two, with a little noise, so that vectors lie as real
ones do and no two are alike. Questions are HaluEval's. docs/corpora.md has the figures.

With `--exact` no index of vectors is made, with `--indexed` one is made of any number of chunks.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from lab.retrieval.__main__ import halueval
from lab.retrieval.gauges import Memory
from lab.safety.data import embedded
from tiffin.cli.figures import interval
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.corpus import upkeep
from tiffin.corpus.document import Chunk
from tiffin.corpus.entities import Corpus, File, Member, new_id
from tiffin.corpus.hybrid import Hit, Wanted
from tiffin.corpus.search import Searcher
from tiffin.corpus.store import Store
from tiffin.corpus.upkeep import Keeper

SENTENCES, QUESTIONS = 6_000, 200
LEAST_CHARS = 40
EMBEDDER = "all-minilm-l6-v2"
JOINED = 5
TOP = 10
OF_A_FILE = 1_000
APPENDED = 5_000
WAYS = {"hybrid": (1.0, 1.0), "meaning": (1.0, 0.0), "words": (0.0, 1.0)}

Rows = NDArray[np.float32]


def material() -> tuple[list[str], Rows, list[str], Rows]:
    """Sentences and questions, each with their vectors."""
    rows = halueval()
    questions = [row["question"] for row in rows[:QUESTIONS]]
    parts = (part.strip() for row in rows for part in row["knowledge"].split(". "))
    sentences = list(dict.fromkeys(part for part in parts if len(part) > LEAST_CHARS))[:SENTENCES]
    return sentences, embedded(sentences), questions, embedded(questions)


def batches(
    sentences: Sequence[str], vectors: Rows, count: int
) -> Iterator[tuple[list[str], Rows]]:
    """Texts and vectors of `count` chunks, some at a time."""
    random = np.random.default_rng(0)
    for first in range(0, count, APPENDED):
        size = min(APPENDED, count - first)
        parts = random.integers(len(sentences), size=(size, JOINED))
        texts = [". ".join(sentences[part] for part in row) for row in parts.tolist()]
        noise = random.normal(scale=0.01, size=(size, vectors.shape[1])).astype(np.float32)
        mixed = vectors[parts[:, 0]] + np.float32(0.5) * vectors[parts[:, 1]] + noise
        yield texts, mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def filled(store: Store, sentences: Sequence[str], vectors: Rows, count: int) -> Corpus:
    """A corpus of `count` chunks, in files of a thousand."""
    corpus = Corpus(new_id("vs_"), "lab", "scale", "", store.embedder, {}, 0, 0, None, 0)
    store.records.add_corpus(corpus)
    table, seq = store.table(corpus.id), 1
    for texts, rows in batches(sentences, vectors, count):
        chunks: dict[str, list[Chunk]] = {}
        for first in range(0, len(texts), OF_A_FILE):
            file = File(new_id("file-"), "lab", f"{seq + first}.txt", None, "0", 1, "lab", 0, None)
            store.records.add_file(file)
            part = texts[first : first + OF_A_FILE]
            chunks[file.id] = [Chunk(text, 0, len(text), None, ()) for text in part]
        store.records.add_members([Member(corpus.id, file, "in_progress") for file in chunks])
        table.append(chunks, rows, seq)
        store.records.complete(corpus.id, {file: len(its) for file, its in chunks.items()})
        seq += len(texts)
    return corpus


async def searched(
    store: Store, questions: Sequence[str], vectors: Rows, weights: tuple[float, float]
) -> tuple[list[list[Hit]], list[float], float]:
    """The ten hits of each question, the ms that each took, and the ms of a first search."""
    searcher, found, took = Searcher(store), [], []
    for n in (0, *range(len(questions))):
        corpus = store.find("lab", "scale")
        wanted = Wanted(questions[n], vectors[n], TOP, weights=weights)
        began = time.perf_counter()
        context = RequestContext(Deadline.after(600))
        found.append((await searcher.search(corpus, wanted, context)).hits)
        took.append(1000 * (time.perf_counter() - began))
    return found[1:], took[1:], took[0]


def recall(
    store: Store, corpus: Corpus, found: Sequence[Sequence[Hit]], asked: Rows
) -> tuple[float, tuple[float, float]]:
    """The share of the hits that are as near as the exact ten nearest, over all questions.

    With its 95 % interval, by bootstrap over the questions.
    """
    least = upkeep.nearest(store.table(corpus.id), asked, TOP) - upkeep.SLACK
    right = [
        sum(hit.similarity >= limit for hit in hits)
        for hits, limit in zip(found, least, strict=True)
    ]
    shares = np.array(right) / TOP
    names = [str(number) for number in range(len(shares))]
    return float(shares.mean()), interval(names, lambda chosen: float(shares[chosen].mean()))


def written(folder: Path, count: int) -> dict[str, object]:
    """Write a corpus and keep it in order: seconds, and what the index is."""
    sentences, vectors, _, _ = material()
    store = Store(folder, EMBEDDER)
    began = time.perf_counter()
    corpus = filled(store, sentences, vectors, count)
    wrote, keeper = time.perf_counter(), Keeper(store)
    with Memory() as compacting:
        for due in keeper.due():
            keeper.tidy(store.table(due), more=False)
    with Memory() as indexing:
        for table in keeper.to_index():
            keeper.index(table)
    done = store.records.upkeep(corpus.id)
    return {
        "chunks": count,
        "written_s": round(wrote - began, 1),
        "upkeep_s": round(time.perf_counter() - wrote, 1),
        "upkeep_before_mb": round(compacting.before),
        "compaction_peak_mb": round(compacting.peak),
        "index_peak_mb": round(indexing.peak),
        "probes": done.probes,
        "recall_of_stored": done.recall,
        "disk_mb": round(sum(path.stat().st_size for path in folder.rglob("*")) / 1e6),
    }


def asked(folder: Path) -> dict[str, object]:
    """Search that corpus, in a process that did not write it: milliseconds, and MB."""
    _, _, questions, vectors = material()
    store = Store(folder, EMBEDDER)
    corpus, process = store.find("lab", "scale"), psutil.Process()
    store.table(corpus.id).health()
    report: dict[str, object] = {"before_mb": round(process.memory_info().rss / 1e6)}
    for name, weights in WAYS.items():
        found, took, first = asyncio.run(searched(store, questions, vectors, weights))
        p50, p99 = np.percentile(took, [50, 99]).round(1).tolist()
        report[name] = {"p50_ms": p50, "p99_ms": p99, "first_ms": round(first)}
        if name == "hybrid":
            report["after_mb"] = round(process.memory_info().rss / 1e6)
        if name == "meaning":
            share, ends = recall(store, corpus, found, vectors)
            report["recall@10"] = [round(value, 3) for value in (share, *ends)]
    return report


def main() -> None:
    """Measure what the command line asks for, in an empty folder."""
    parser = argparse.ArgumentParser(prog="python -m lab.retrieval.scale", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--indexed", action="store_true")
    options = parser.parse_args()
    if options.exact or options.indexed:
        upkeep.EXACT_CHUNKS = 10**9 if options.exact else 0
    report = written(options.folder, options.chunks)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        report |= fresh.submit(asked, options.folder).result()
    print(json.dumps(report, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
