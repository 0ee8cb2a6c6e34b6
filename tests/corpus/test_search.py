"""Search in a corpus, over a real store with stand-in vectors: what is found, in which order."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.support.ingesting import TENANT, ingest, queued, vectors_of
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.filters import Comparison
from tiffin.corpus.fusion import fused
from tiffin.corpus.hybrid import Hit, Wanted
from tiffin.corpus.search import Searcher
from tiffin.corpus.store import Store


async def find(
    store: Store, corpus: str, query: str, count: int = 5, **wanted: object
) -> list[Hit]:
    found = store.find(TENANT, corpus)
    asked = Wanted(query, vectors_of([query])[0], count, **wanted)  # type: ignore[arg-type]
    return (await Searcher(store).search(found, asked, RequestContext(Deadline.after(30)))).hits


async def test_the_exact_scan_is_what_numpy_says(tmp_path: Path) -> None:
    store = Store(tmp_path, "m")
    words = [f"w{n}" for n in range(40)]
    random = np.random.default_rng(1)
    texts = {f"{n}.txt": " ".join(random.choice(words, 8)) for n in range(60)}
    corpus = queued(store, texts)
    await ingest(store)
    query = " ".join(random.choice(words, 4))
    hits = await find(store, corpus.id, query, 10, weights=(1.0, 0.0))
    cosines = np.sort(vectors_of(list(texts.values())) @ vectors_of([query])[0])[::-1]
    assert np.allclose([hit.similarity for hit in hits], cosines[:10], atol=1e-6)


async def test_what_says_the_same_counts_once(tmp_path: Path) -> None:
    store = Store(tmp_path, "m")
    same = "Tickets are refunded within fourteen days."
    corpus = queued(store, {"a.txt": same, "b.txt": same, "c.txt": "Tickets cost money."})
    await ingest(store)
    hits = await find(store, corpus.id, "tickets refunded")
    assert [hit.name for hit in hits] in (["a.txt", "c.txt"], ["b.txt", "c.txt"])


async def test_a_filter_loses_no_match_among_many_others(tmp_path: Path) -> None:
    store = Store(tmp_path, "m")
    texts = {f"{n}.txt": f"tickets tickets number {n}" for n in range(300)}
    corpus = queued(store, {**texts, "wanted.txt": "a longer text that once says tickets " * 3})
    for member, file in store.records.waiting("m", 1000):
        if file.name == "wanted.txt":
            store.records.set_attributes(corpus.id, member.file, {"kind": "wanted"})
    await ingest(store)
    only = Comparison(type="eq", key="kind", value="wanted")
    hits = await find(store, corpus.id, "tickets", 5, filters=only, weights=(0.0, 1.0))
    assert [hit.name for hit in hits] == ["wanted.txt"]
    assert hits[0].score > 0.5


@pytest.mark.slow
async def test_searches_go_on_while_the_corpus_changes(tmp_path: Path) -> None:
    store = Store(tmp_path, "m")
    corpus = queued(store, {"a.txt": "the first text about tickets"})
    await ingest(store)
    done = asyncio.Event()

    async def change() -> None:
        for n in range(6):
            queued(store, {f"{n}.txt": f"text number {n} about trains"}, corpus.id)
            await ingest(store)
        done.set()

    changing = asyncio.create_task(change())
    searches = 0
    while not done.is_set():
        hits = await find(store, corpus.id, "first text about tickets", 1)
        assert [hit.name for hit in hits] == ["a.txt"]
        searches += 1
    await changing
    assert searches > 3
    assert len(await find(store, corpus.id, "about", 20)) == 7


def test_fusion_prefers_what_both_halves_find() -> None:
    scores = fused(([1, 2, 3], [3, 4]), (1.0, 1.0))
    assert max(scores, key=lambda item: scores[item]) == 3
    assert fused(([1], [1]), (1.0, 1.0)) == {1: 1.0}
