"""A corpus is embedded by another model: nothing is lost, and searches go on meanwhile."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.corpus.test_killed import contents, documents
from tests.support.ingesting import OTHER, OTHER_WIDTH, TENANT, ingest, queued, vectors_of
from tests.support.stack import ROOT
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.corpus import store as store_module
from tiffin.corpus.copying import copy_corpora
from tiffin.corpus.entities import Corpus
from tiffin.corpus.hybrid import Wanted
from tiffin.corpus.search import Found, Searcher
from tiffin.corpus.store import Store

TEXTS = {
    "a.txt": "Tickets are refunded within fourteen days.",
    "b.txt": "Dogs may travel on all trains.",
}


async def find(store: Store, query: str, width: int = OTHER_WIDTH) -> Found:
    asked = Wanted(query, vectors_of([query], width)[0], 5)
    corpus = store.find(TENANT, "test")
    return await Searcher(store).search(corpus, asked, RequestContext(Deadline.after(30)))


def stored(store: Store) -> Corpus:
    return store.find(TENANT, "test")


def asked(store: Store, embedder: str = OTHER) -> None:
    store.records.ask_reembedding(stored(store), embedder)


async def test_a_corpus_is_searched_by_words_until_it_is_embedded_anew(tmp_path: Path) -> None:
    before, after = Store(tmp_path, "test"), Store(tmp_path, OTHER)
    corpus = queued(before, TEXTS)
    await ingest(before)
    expected, version = contents(before, corpus.id), stored(before).version
    found = await find(after, "are tickets refunded")
    assert found.by_words
    assert [(hit.name, hit.similarity) for hit in found.hits] == [("a.txt", 0.0)]
    asked(after)
    assert not (await find(before, "tickets", 32)).by_words
    await ingest(after, OTHER_WIDTH)
    now = stored(after)
    assert (now.embedder, now.version > version) == (OTHER, True)
    found = await find(after, TEXTS["a.txt"])
    assert not found.by_words
    assert found.hits[0].similarity == pytest.approx(1, abs=1e-6)
    assert contents(after, corpus.id) == expected
    assert (await find(before, "tickets", 32)).by_words


async def test_files_wait_for_the_new_model_and_keep_no_others_waiting(tmp_path: Path) -> None:
    before, after = Store(tmp_path, "test"), Store(tmp_path, OTHER)
    corpus = queued(before, TEXTS)
    await ingest(before)
    queued(after, {"late.txt": "Seats can be reserved."}, corpus.id)
    free = queued(after, {"c.txt": "Another corpus altogether."})
    await ingest(after, OTHER_WIDTH)
    assert len(after.records.visible(free.id)) == 1
    assert len(after.records.visible(corpus.id)) == 2
    after.records.drop_corpus(free.id)
    asked(after)
    await ingest(after, OTHER_WIDTH)
    assert {name for name, *_ in contents(after, corpus.id)} == {*TEXTS, "late.txt"}


async def test_what_changed_meanwhile_is_not_lost(tmp_path: Path) -> None:
    before, after = Store(tmp_path, "test"), Store(tmp_path, OTHER)
    queued(before, TEXTS)
    await ingest(before)
    asked(after)
    (one,) = after.records.reembeddings()
    first, second = before.records.visible(stored(before).id)
    assert not after.records.switch(one, {first: 1}), "the second file would be lost"
    before.records.drop_member(stored(before).id, second)
    assert after.records.switch(one, {first: 1, second: 1})
    assert not after.records.switch(one, {first: 1}), "it is done"
    assert (stored(after).embedder, stored(after).generation) == (OTHER, 1)


@pytest.mark.slow
async def test_a_model_that_is_named_later_begins_with_an_empty_table(tmp_path: Path) -> None:
    store = Store(tmp_path, "test")
    queued(store, TEXTS)
    await ingest(store)
    names = []
    for embedder in ("first", "first", "second"):
        asked(store, embedder)
        names.append(store.records.reembedding(stored(store).id))
    assert [one.generation for one in names if one is not None] == [1, 1, 2]
    store.records.end_reembedding(stored(store).id)
    asked(store)
    await ingest(Store(tmp_path, OTHER), OTHER_WIDTH)
    assert stored(store).generation == 3


@pytest.mark.slow
async def test_a_chunk_that_the_new_model_cannot_read_whole_is_cut_anew(tmp_path: Path) -> None:
    before, after = Store(tmp_path, "test"), Store(tmp_path, OTHER)
    text = " ".join(f"Sentence number {n} of this text is short." for n in range(12))
    corpus = queued(before, {"long.txt": text, **TEXTS}).id
    await ingest(before, reads=160)
    assert len(contents(before, corpus)) == 3
    asked(after)
    await ingest(after, OTHER_WIDTH, reads=64)
    found = contents(after, corpus)
    assert len(found) > 3
    assert max(len(text.split()) for *_, text in found) <= 64


@pytest.mark.slow
async def test_the_old_table_stays_for_the_searches_that_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = Store(tmp_path, "test"), Store(tmp_path, OTHER)
    corpus = queued(before, TEXTS)
    await ingest(before)
    begun = stored(before)
    asked(after)
    await ingest(after, OTHER_WIDTH)
    after.clean()
    late = Wanted("tickets", vectors_of(["tickets"])[0], 5)
    context = RequestContext(Deadline.after(30))
    assert (await Searcher(before).search(begun, late, context)).hits
    copy_corpora(tmp_path, _folder(tmp_path / "copy"))
    assert len(contents(Store(tmp_path / "copy", OTHER), corpus.id)) == 2
    monkeypatch.setattr(store_module, "KEPT_S", -1.0)
    after.clean()
    tables = {path.stem for path in (tmp_path / "chunks").glob("*.lance")}
    assert tables == {stored(after).table}
    assert (await find(after, "tickets")).hits


@pytest.mark.slow
def test_a_corpus_is_whole_however_often_re_embedding_is_killed(tmp_path: Path) -> None:
    random, store = np.random.default_rng(3), Store(tmp_path, "test")
    corpus = queued(store, {name: text for n in range(2) for name, text in documents(n).items()}).id
    asyncio.run(ingest(store))
    expected = contents(store, corpus)
    asked(store)
    kills, made = 0, 0
    while (one := store.records.reembedding(corpus)) is not None:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ingesting", str(tmp_path), OTHER], cwd=ROOT
        )
        new = store.table(one.table)
        while process.poll() is None and new.version == made:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.wait()
        kills, made = kills + 1, new.version
        found = asyncio.run(find(store, "paragraph 7 of 1 2", 32))
        assert found.hits, "searches go on"
    assert kills > 3, "the kills came too late to tell anything"
    assert stored(store).embedder == OTHER
    assert contents(store, corpus) == expected
    assert len(store.table(stored(store).table).ids().seqs) == len(expected)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
