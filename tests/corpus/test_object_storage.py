"""Corpora whose tables are on object storage, over a server that speaks S3."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.corpus.test_killed import contents, documents
from tests.corpus.test_search import find
from tests.support.ingesting import OTHER, OTHER_WIDTH, TENANT, ingest, queued
from tests.support.object_storage import BUCKET, PROGRAM, object_storage
from tests.support.stack import ROOT
from tiffin.config.section import SettingsError
from tiffin.core.errors import UpstreamFailed
from tiffin.corpus.copying import copy_corpora
from tiffin.corpus.layout import read_layout
from tiffin.corpus.store import Store

CHUNKS = f"s3://{BUCKET}/chunks"
TEXTS = {"a.txt": "Tickets are refunded within fourteen days.", "b.txt": "Dogs may travel."}


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not PROGRAM.exists():
        pytest.skip("make .venv-objects/stamp installs the server")
    with object_storage() as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.usefixtures("storage")
async def test_a_corpus_is_ingested_searched_embedded_anew_and_deleted(tmp_path: Path) -> None:
    store, other = (Store(tmp_path, name, CHUNKS) for name in ("test", OTHER))
    corpus = queued(store, TEXTS)
    await ingest(store)
    assert not list((tmp_path / "chunks").iterdir()), "nothing but locks and records is here"
    (hit,) = await find(store, corpus.id, "are tickets refunded", 1)
    assert (hit.name, hit.similarity > 0.5) == ("a.txt", True)
    table = store.table(corpus.id)
    assert table.health().unindexed == 0
    expected = contents(store, corpus.id)
    store.records.ask_reembedding(store.find(TENANT, "test"), OTHER)
    await ingest(other, OTHER_WIDTH)
    assert contents(other, corpus.id) == expected
    other.records.drop_corpus(corpus.id)
    other.clean()
    assert not other._stored()  # noqa: SLF001


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.usefixtures("storage")
async def test_two_stores_with_one_address_leave_each_other_alone(tmp_path: Path) -> None:
    one, two = (Store(tmp_path / name, "test", CHUNKS) for name in ("one", "two"))
    corpora = [queued(store, TEXTS).id for store in (one, two)]
    await ingest(one)
    await ingest(two)
    one.clean()
    two.clean()
    assert contents(one, corpora[0]) == contents(two, corpora[1])


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.usefixtures("storage")
async def test_a_copy_has_no_tables_and_ingests_everything_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "live", "test", CHUNKS)
    corpus = queued(store, TEXTS).id
    await ingest(store)
    for name, chunks in (("there", CHUNKS), ("here", None)):
        (tmp_path / name).mkdir()
        copy_corpora(store.folder, tmp_path / name)
        copy = Store(tmp_path / name, "test", chunks)
        assert len(copy.records.waiting("test", 9)) == len(TEXTS)
        await ingest(copy)
        assert contents(copy, corpus) == contents(store, corpus)
        tables = read_layout(copy.folder / "layout.json").tables
        assert tables != read_layout(store.folder / "layout.json").tables


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.usefixtures("storage")
def test_a_corpus_on_object_storage_is_whole_after_kills(tmp_path: Path) -> None:
    random, store = np.random.default_rng(5), Store(tmp_path, "test", CHUNKS)
    texts = {name: text for turn in range(2) for name, text in documents(turn).items()}
    corpus, kills = queued(store, texts).id, 0
    while store.records.totals().get("in_progress"):
        done = store.records.totals().get("completed", 0)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ingesting", str(tmp_path), "test", CHUNKS],
            cwd=ROOT,
        )
        while process.poll() is None and store.records.totals().get("completed", 0) == done:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.wait()
        kills += 1
    assert kills > 2
    whole = Store(tmp_path / "whole", "test")
    same = queued(whole, texts).id
    asyncio.run(ingest(whole))
    assert contents(store, corpus) == contents(whole, same)
    assert len(store.table(corpus).ids().seqs) == len(contents(whole, same))


@pytest.mark.slow
@pytest.mark.nightly
async def test_a_search_fails_while_object_storage_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not PROGRAM.exists():
        pytest.skip("make .venv-objects/stamp installs the server")
    store = Store(tmp_path, "test", CHUNKS)
    with object_storage() as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        corpus = queued(store, TEXTS)
        await ingest(store)
    with pytest.raises(UpstreamFailed, match="the corpus test cannot be read"):
        await find(store, corpus.id, "tickets", 1)


def test_a_folder_keeps_its_tables_where_they_are(tmp_path: Path) -> None:
    plain = Store(tmp_path / "plain", "test")
    _ = plain.records
    (tmp_path / "plain/chunks/vs_1.lance").mkdir()
    with pytest.raises(SettingsError, match="stay there: unset TIFFIN_CHUNKS"):
        _ = Store(tmp_path / "plain", "test", CHUNKS).records
    _ = Store(tmp_path / "there", "test", CHUNKS).records
    _ = Store(tmp_path / "there", "test", CHUNKS).records
    for chunks in (None, f"s3://{BUCKET}/other"):
        with pytest.raises(SettingsError, match=f"set TIFFIN_CHUNKS={CHUNKS}, or"):
            _ = Store(tmp_path / "there", "test", chunks).records
