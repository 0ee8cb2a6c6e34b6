"""What keeps a corpus' table in order, and that a search over it is whole or fails.

The index of vectors is made here for hundreds of chunks in place of a hundred thousand.
"""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.corpus.test_search import find
from tests.support.ingesting import READS, TENANT, WIDTH, Hashing, queued, vectors_of
from tiffin.core.errors import UpstreamFailed
from tiffin.core.filters import Comparison
from tiffin.corpus import hybrid, upkeep
from tiffin.corpus.corpora import ingestion_of
from tiffin.corpus.document import Chunk
from tiffin.corpus.entities import Corpus
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.corpus.upkeep import Keeper

WORDS = [f"w{n}" for n in range(60)]
CHUNKS = 400


def stored(store: Store, texts: list[str], corpus: str = "") -> Corpus:
    """A corpus with a file that has these chunks, or one with another such file."""
    made = queued(store, {f"{len(texts)}.txt": "its chunks are given"}, corpus)
    ((member, _),) = store.records.waiting("m", 1)
    chunks = [Chunk(text, 0, len(text), None, ()) for text in texts]
    table = store.table(made.id)
    table.append({member.file: chunks}, vectors_of(texts), int(table.ids().seqs.max(initial=0)) + 1)
    store.records.complete(made.id, {member.file: len(texts)})
    return made


def some_texts(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, 8)) for _ in range(count)]


def tidied(keeper: Keeper, store: Store, *, more: bool = False) -> list[str]:
    """Which corpora needed work, which is then done."""
    due = keeper.due()
    for corpus in due:
        keeper.tidy(store.table(corpus), more=more)
    for table in keeper.to_index():
        keeper.index(table)
    return due


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(upkeep, "EXACT_CHUNKS", CHUNKS - 1)
    monkeypatch.setattr(upkeep, "SAMPLE", 20)
    monkeypatch.setattr(hybrid, "SCANNED", 10)
    return Store(tmp_path, "m")


@pytest.mark.slow
async def test_an_index_finds_what_the_exact_scan_finds_and_what_came_later(store: Store) -> None:
    corpus = stored(store, some_texts(CHUNKS))
    exact = [await find(store, corpus.id, text, 10) for text in some_texts(10, seed=1)]
    assert tidied(Keeper(store), store) == [corpus.id]
    done = store.records.upkeep(corpus.id)
    assert done.probes is not None
    assert done.recall is not None
    assert done.recall >= upkeep.LEAST_RECALL
    indexed = [await find(store, corpus.id, text, 10) for text in some_texts(10, seed=1)]
    same = [
        len({hit.row.seq for hit in one} & {hit.row.seq for hit in other})
        for one, other in zip(exact, indexed, strict=True)
    ]
    assert sum(same) >= 0.9 * 100
    assert indexed[0][0].similarity == pytest.approx(exact[0][0].similarity, abs=1e-6)

    late = stored(store, ["a sentence that came late", *some_texts(20, seed=2)], corpus.id)
    assert store.table(corpus.id).health().unindexed_vectors == 21
    hits = await find(store, late.id, "a sentence that came late", 3)
    assert hits[0].row.text == "a sentence that came late"
    assert hits[0].similarity == pytest.approx(1, abs=1e-6)
    only = Comparison(type="eq", key="kind", value="rare")
    file = hits[0].row.file
    store.records.set_attributes(corpus.id, file, {"kind": "rare"})
    hits = await find(store, corpus.id, "w1 w2", 30, filters=only)
    assert {hit.row.file for hit in hits} == {file}
    assert len(hits) >= 20

    keeper = Keeper(store)
    assert tidied(keeper, store) == [corpus.id]
    assert store.table(corpus.id).health().unindexed_vectors == 0
    assert tidied(keeper, store) == []


@pytest.mark.slow
async def test_files_are_ingested_and_found_while_vectors_are_indexed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, make = threading.Event(), threading.Event(), Table.index_vectors

    def make_later(table: Table) -> None:
        begun.set()
        go_on.wait(60)
        make(table)

    monkeypatch.setattr(Table, "index_vectors", make_later)
    corpus, records = stored(store, some_texts(CHUNKS)), store.records
    ingestion = ingestion_of(store, Hashing(WIDTH), lambda: READS)
    ingestion.start()
    async with asyncio.timeout(60):
        await asyncio.to_thread(begun.wait)
        queued(store, {"late.txt": "a sentence that came late"}, corpus.id)
        ingestion.wake()
        while records.totals().get("in_progress"):
            await asyncio.sleep(0.02)
        hits = await find(store, corpus.id, "a sentence that came late", 3)
        assert hits[0].row.text == "a sentence that came late"
        assert records.upkeep(corpus.id).probes is None
        go_on.set()
        while records.upkeep(corpus.id).probes is None:
            await asyncio.sleep(0.02)
    await ingestion.stop()
    assert await find(store, corpus.id, "a sentence that came late", 3) == hits


async def test_a_version_that_is_held_does_not_see_what_is_written_later(store: Store) -> None:
    table = store.table(stored(store, ["one", "two"]).id)
    held, chunk = table.frozen(), Chunk("three", 0, 5, None, ())
    table.append({"file-3": [chunk]}, vectors_of(["three"]), 3)
    assert [len(held.ids().seqs), len(table.ids().seqs)] == [2, 3]


async def test_an_index_that_misses_too_much_is_not_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LEAST_RECALL", 1.1)
    monkeypatch.setattr(upkeep, "PROBES", (1,))
    corpus = stored(store, some_texts(CHUNKS))
    keeper = Keeper(store)
    tidied(keeper, store)
    assert store.records.upkeep(corpus.id).probes is None
    assert len(await find(store, corpus.id, "w1 w2 w3", 10)) == 10
    assert tidied(keeper, store) == []


def test_one_process_at_a_time_compacts_and_another_round_does_it(store: Store) -> None:
    corpus = stored(store, ["one", "two"])
    keeper = Keeper(store)
    with Store(store.folder, "m").alone():
        assert tidied(keeper, store) == [corpus.id]
        assert store.records.upkeep(corpus.id).compacted is None
    assert tidied(keeper, store) == [corpus.id]
    assert store.records.upkeep(corpus.id).compacted == keeper.compacted
    assert keeper.health[corpus.id].unindexed == 0


def test_what_another_process_did_is_seen(store: Store) -> None:
    corpus = stored(store, ["one", "two"])
    one, other = Keeper(store), Keeper(store)
    one.due()
    tidied(other, store)
    assert one.health[corpus.id].unindexed == 2
    assert one.due() == []
    assert one.health[corpus.id].unindexed == 0
    store.records.drop_corpus(corpus.id)
    assert one.due() == []
    assert one.health == {}


async def test_a_search_fails_if_chunks_have_got_lost(store: Store) -> None:
    corpus = stored(store, ["tickets are refunded", "dogs may travel"])
    (file,) = store.records.visible(corpus.id)
    assert len(await find(store, corpus.id, "tickets", 5)) == 2
    store.table(corpus.id).delete([file])
    with pytest.raises(UpstreamFailed, match="2 chunks of the corpus test are missing"):
        await find(store, corpus.id, "tickets", 5)
    assert store.find(TENANT, "test").id == corpus.id


async def test_a_search_fails_if_a_table_is_damaged(store: Store) -> None:
    corpus = stored(store, ["tickets are refunded", "dogs may travel"])
    for piece in (store.folder / "chunks" / f"{corpus.id}.lance" / "data").iterdir():
        piece.write_bytes(b"damaged")
    with pytest.raises(UpstreamFailed, match="the corpus test cannot be read"):
        await find(store, corpus.id, "tickets", 5)
