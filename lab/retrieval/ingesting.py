"""`python -m lab.retrieval.ingesting FOLDER --megabytes N`: what ingestion costs.

Markdown documents of 1 to 200 kB, of SQuAD's and HaluEval's sentences, wait in an empty folder and
are ingested by the real reader, chunker, store, compaction and index of vectors, in this process
and its child. It prints chunks a second, the share of time in which the embedder worked, and the
memory of both processes (PSS) as it grows. The embedder is the real model, in this process, or with
`--synthetic` random vectors and tokens by the length of a text, which take no time, so that a
gigabyte ends on the same day. docs/corpora.md has the figures.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import squad
from lab.retrieval.__main__ import halueval
from lab.retrieval.gauges import Clock, Memory
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
PERIOD_S, REPORT_S = 1.0, 20.0

Rows = NDArray[np.float32]


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


def sizes(megabytes: float, smallest: float, largest: float) -> list[int]:
    """Bytes of so many documents, together so much; as many of 1 to 2 kB as of 100 to 200."""
    random, found, left = np.random.default_rng(1), list[int](), int(1e6 * megabytes)
    while left > 0:
        share = random.uniform(np.log(smallest), np.log(largest))
        found.append(min(left, int(1e3 * np.exp(share))))
        left -= found[-1]
    return found


def documents(lengths: Sequence[int]) -> Iterator[bytes]:
    """Markdown of about so many bytes each: shuffled sentences, under headings."""
    told = dict.fromkeys(row["knowledge"] for row in halueval())
    told |= dict.fromkeys(question.passage for question in squad())
    parts = [part for passage in told for part in passage.split(". ") if part]
    random = np.random.default_rng(1)
    for file, size in enumerate(lengths):
        held, length, section = [], 0, 0
        while length < size:
            chosen = random.integers(len(parts), size=SENTENCES_A_SECTION).tolist()
            text = ". ".join(parts[part] for part in chosen)
            held.append(f"## Section {section} of {file}\n\n{text}.\n\n")
            length, section = length + len(held[-1]), section + 1
        yield "".join(held).encode()[:size]


def queued(store: Store, lengths: Sequence[int]) -> Corpus:
    """A corpus in which these documents wait."""
    corpus = Corpus(new_id("vs_"), "lab", "ingesting", "", store.embedder, {}, 0, 0, None, 0)
    store.records.add_corpus(corpus)
    for number, data in enumerate(documents(lengths)):
        digest, size = store.save(iter([data]))
        file = File(new_id("file-"), "lab", f"{number}.md", None, digest, size, "lab", 0, None)
        store.records.add_file(file)
        store.records.add_members([Member(corpus.id, file.id, "in_progress", bytes=size)])
    return corpus


async def ingested(
    store: Store, corpus: Corpus, embedding: Synthetic | Real, minutes: float
) -> dict[str, Any]:
    """Ingest what waits, or as much as the minutes allow; chunks, seconds, and memory."""
    limit, began = load_catalog().get(EMBEDDER).context_tokens, time.perf_counter()
    ingestion = ingestion_of(store, embedding, lambda: limit)
    with Memory() as memory:
        ingestion.start()
        growth = await _watched(store, corpus, memory, began + 60 * minutes)
        took = time.perf_counter() - began
        await ingestion.stop()
    health, done = store.table(corpus.id).health(), store.records.upkeep(corpus.id)
    return {
        "chunks": health.chunks,
        "seconds": round(took, 1),
        "chunks/s": round(health.chunks / took, 1),
        "before_mb": round(memory.before),
        "peak_mb": round(memory.peak),
        "indexed": health.indexed,
        "recall_of_stored": done.recall,
        "growth": _thinned(growth),
    }


async def _watched(
    store: Store, corpus: Corpus, memory: Memory, until: float
) -> list[dict[str, int]]:
    """Until all is ingested, or the time is over: how far it was, every 20 seconds."""
    growth, began = list[dict[str, int]](), time.perf_counter()
    while (now := time.perf_counter()) < until:
        counts = store.records.counts(corpus.id)[0]
        if (waiting := counts.get("in_progress", 0)) == 0:
            break
        if now > began + len(growth) * REPORT_S:
            growth.append(
                {
                    "s": round(now - began),
                    "files_left": waiting,
                    "chunks": store.table(corpus.id).health().chunks,
                    "now_mb": round(memory.now),
                    "peak_mb": round(memory.peak),
                }
            )
            print(json.dumps(growth[-1]), file=sys.stderr, flush=True)  # noqa: T201
        await asyncio.sleep(PERIOD_S)
    return growth


def _thinned(growth: Sequence[dict[str, int]]) -> list[dict[str, int]]:
    """At most ten of them, the last among them."""
    at = np.linspace(0, len(growth) - 1, min(10, len(growth))).astype(int)
    return [growth[i] for i in at]


def main() -> None:
    """Measure what the command line asks for, in an empty folder."""
    parser = argparse.ArgumentParser(prog="python -m lab.retrieval.ingesting", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--kilobytes", type=float, nargs=2, default=(1, 200), help="of a document")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="stop after so long")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    embeds, compacts, indexes, appends = Clock(), Clock(), Clock(), Clock()
    for clock, work in ((compacts, "compact"), (indexes, "index_vectors"), (appends, "append")):
        setattr(Table, work, clock.timing(getattr(Table, work)))
    embedding = Synthetic(embeds) if options.synthetic else Real(embeds, options.threads)
    store = Store(options.folder, EMBEDDER)
    corpus = queued(store, sizes(options.megabytes, *options.kilobytes))
    report = asyncio.run(ingested(store, corpus, embedding, options.minutes))
    report["embedder_busy"] = round(embeds.total / report["seconds"], 3)
    for name, clock in (("compact_s", compacts), ("index_s", indexes), ("append_s", appends)):
        report[name] = round(clock.total, 1)
    print(json.dumps(report, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
