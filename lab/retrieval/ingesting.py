"""`python -m lab.retrieval.ingesting FOLDER --megabytes N`: what ingestion costs.

Documents of HaluEval's sentences are queued in an empty folder and ingested by the real reader,
chunker, store and upkeep, in this process and its child. It prints chunks a second, the share of
the time in which the embedder worked, and the memory of both processes (PSS) as it grows. The
embedder is the real model, in this process, or with `--synthetic` random vectors, which take no
time, so that a gigabyte ends on the same day. docs/corpora.md has the figures.
"""

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from lab.retrieval.__main__ import halueval
from lab.retrieval.scale import EMBEDDER
from models.catalog import load_catalog
from models.engines.encoders import embedder
from models.store import Store as Models
from tiffin.config.settings import load_settings
from tiffin.core.context import RequestContext
from tiffin.corpus.corpora import ingestion_of
from tiffin.corpus.entities import Corpus, File, Member, new_id
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.traffic.batching import TokenBatcher

WIDTH, CHARS_A_TOKEN = 384, 4.5
SENTENCES_A_SECTION = 20
PERIOD_S = 1.0

Rows = NDArray[np.float32]


class Clock:
    """Adds up how long something was going on, however often at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going = 0
        self._since = 0.0
        self.total = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._going += 1
            if self._going == 1:
                self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._going -= 1
            if not self._going:
                self.total += time.perf_counter() - self._since

    def timing(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, timed."""

        @wraps(work)
        def timed(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            with self:
                return work(*given, **named)

        return timed


class Synthetic:
    """Random vectors, and tokens by the length of a text."""

    def __init__(self, clock: Clock) -> None:
        self._random, self._clock = np.random.default_rng(0), clock

    async def embed(self, texts: Sequence[str], context: RequestContext) -> tuple[Rows, int]:
        """Rows (len(texts), width) of length 1."""
        del context
        with self._clock:
            rows = self._random.normal(size=(len(texts), WIDTH)).astype(np.float32)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True), 0

    async def count(self, texts: Sequence[str], context: RequestContext) -> list[int]:
        """About the tokens of each text."""
        del context
        return [1 + int(len(text) / CHARS_A_TOKEN) for text in texts]


class Real:
    """The default embedder behind its batches, as the Embedding service has it."""

    def __init__(self, clock: Clock, threads: int) -> None:
        home, section = load_settings().home, load_settings().embedding
        model = load_catalog().get(EMBEDDER)
        self._engine = embedder(Models(home).path(model), device="cpu", threads=threads)
        self._batches: TokenBatcher[Any, Any] = TokenBatcher(
            self._engine.tokenize,
            clock.timing(self._engine.run),
            max_batch_tokens=section.max_batch_tokens,
            max_queue_tokens=section.max_queue_tokens,
        )

    async def embed(self, texts: Sequence[str], context: RequestContext) -> tuple[Rows, int]:
        """Rows (len(texts), width) of length 1, and the tokens read."""
        del context
        return await self._batches.submit(texts)

    async def count(self, texts: Sequence[str], context: RequestContext) -> list[int]:
        """The tokens of each text."""
        del context
        return await asyncio.to_thread(self._engine.count, texts)


def documents(megabytes: float, files: int) -> Iterator[bytes]:
    """Markdown of so many bytes in so many files, none like another."""
    parts = [part for row in halueval() for part in row["knowledge"].split(". ") if part]
    random, size = np.random.default_rng(1), int(1e6 * megabytes / files)
    for file in range(files):
        held, length, section = [], 0, 0
        while length < size:
            chosen = random.integers(len(parts), size=SENTENCES_A_SECTION).tolist()
            text = ". ".join(parts[part] for part in chosen)
            held.append(f"## Section {section} of {file}\n\n{text}.\n\n")
            length, section = length + len(held[-1]), section + 1
        yield "".join(held).encode()


def queued(store: Store, megabytes: float, files: int) -> Corpus:
    """A corpus in which these documents wait."""
    corpus = Corpus(new_id("vs_"), "lab", "ingesting", "", store.embedder, {}, 0, 0, None, 0)
    store.records.add_corpus(corpus)
    for number, data in enumerate(documents(megabytes, files)):
        digest, size = store.save(iter([data]))
        file = File(new_id("file-"), "lab", f"{number}.md", None, digest, size, "lab", 0, None)
        store.records.add_file(file)
        store.records.add_members([Member(corpus.id, file.id, "in_progress", bytes=size)])
    return corpus


def pss_mb() -> float:
    """Of this process and its children."""
    this, total = psutil.Process(), 0
    for process in (this, *this.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has ended
            continue
    return total / 1e6


async def ingested(store: Store, corpus: Corpus, embedding: Synthetic | Real) -> dict[str, Any]:
    """Ingest what waits; chunks, seconds, and the memory at each share of the files."""
    limit = load_catalog().get(EMBEDDER).context_tokens
    ingestion = ingestion_of(store, embedding, lambda: limit)
    before, growth, began = pss_mb(), [], time.perf_counter()
    ingestion.start()
    while (counts := store.records.counts(corpus.id)[0]).get("in_progress"):
        await asyncio.sleep(PERIOD_S)
        growth.append((counts.get("completed", 0), round(pss_mb())))
    took = time.perf_counter() - began
    await ingestion.stop()
    chunks = store.table(corpus.id).health().chunks
    return {
        "chunks": chunks,
        "seconds": round(took, 1),
        "chunks/s": round(chunks / took, 1),
        "before_mb": round(before),
        "peak_mb": max(mb for _, mb in growth),
        "growth": _thinned(growth),
    }


def _thinned(growth: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The highest memory in each of ten parts of the time, after so many files."""
    parts = np.array_split(np.array(growth), min(10, len(growth)))
    return [(int(part[-1, 0]), int(part[:, 1].max())) for part in parts]


def main() -> None:
    """Measure what the command line asks for, in an empty folder."""
    parser = argparse.ArgumentParser(prog="python -m lab.retrieval.ingesting", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    embeds, compacts, indexes, appends = Clock(), Clock(), Clock(), Clock()
    for clock, work in ((compacts, "compact"), (indexes, "index_vectors"), (appends, "append")):
        setattr(Table, work, clock.timing(getattr(Table, work)))
    embedding = Synthetic(embeds) if options.synthetic else Real(embeds, options.threads)
    store = Store(options.folder, EMBEDDER)
    corpus = queued(store, options.megabytes, options.files)
    report = asyncio.run(ingested(store, corpus, embedding))
    report["embedder_busy"] = round(embeds.total / report["seconds"], 3)
    for name, clock in (("compact_s", compacts), ("index_s", indexes), ("append_s", appends)):
        report[name] = round(clock.total, 1)
    print(json.dumps(report, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
