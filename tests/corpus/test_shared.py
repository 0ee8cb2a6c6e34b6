"""Corpora that replicas on several machines share: a real PostgreSQL and a server that speaks S3.

A machine is a folder here: two stores with different folders have nothing in common but the two.
"""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import openai
import pytest
from filelock import Timeout

from tests.corpus.test_killed import contents, documents
from tests.corpus.test_search import find
from tests.support.corpora import HANDBOOK, TOWER, Hashed, asking, filled
from tests.support.ingesting import OTHER, OTHER_WIDTH, TENANT, ingest, queued
from tests.support.object_storage import BUCKET, PROGRAM, ObjectStorage, object_storage
from tests.support.postgres import Postgres, programs, running_postgres
from tests.support.services import entry
from tests.support.stack import ROOT
from tiffin.config.section import SettingsError
from tiffin.config.settings import load_settings
from tiffin.core.database import Page
from tiffin.core.errors import NotFound, Unavailable
from tiffin.core.postgres import connect
from tiffin.corpus import shared
from tiffin.corpus.entities import new_id
from tiffin.corpus.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

FOLDER = programs()
TEXTS = {"a.txt": "Tickets are refunded within fourteen days.", "b.txt": "Dogs may travel."}
QUESTION = {"query": "when are tickets refunded?", "corpus": "help", "model": "quote"}


@dataclass(frozen=True)
class Both:
    """What is shared: the database and the storage, and where they are."""

    database: Postgres
    storage: ObjectStorage
    chunks: str
    opened: list[Store] = field(default_factory=list)

    def store(self, machine: Path, embedder: str = "test", chunks: str = "") -> Store:
        self.opened.append(Store(machine, embedder, chunks or self.chunks, self.database.url))
        return self.opened[-1]

    def ingesting(self, machine: Path) -> "subprocess.Popen[bytes]":
        """A process on that machine that ingests what waits."""
        given = [str(machine), "test", self.chunks, self.database.url]
        return subprocess.Popen([sys.executable, "-m", "tests.support.ingesting", *given], cwd=ROOT)


@pytest.fixture(scope="module")
def servers() -> Iterator[Both]:
    if FOLDER is None or not PROGRAM.exists():
        pytest.skip("needs Debian's package postgresql and `make .venv-objects/stamp`")
    with ExitStack() as stack:
        database = stack.enter_context(running_postgres(FOLDER))
        storage = stack.enter_context(object_storage())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in storage.variables.items():
            patch.setenv(name, value)
        yield Both(database, storage, f"s3://{BUCKET}/chunks")


@pytest.fixture
def both(servers: Both) -> Iterator[Both]:
    """Both, with nothing in them."""
    connection = connect(servers.database.url)
    connection.autocommit = True
    for schema in ("tiffin_corpora", "tiffin_verdicts"):
        connection.cursor().execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    connection.close()
    its = replace(servers, chunks=f"s3://{BUCKET}/{new_id('')}", opened=[])
    yield its
    for store in its.opened:
        store.close()


def stored(both: Both) -> list[str]:
    """The digests of the uploads that are stored."""
    prefix = both.chunks.rpartition("/")[2]
    listed = httpx.get(f"{both.storage.url}/{BUCKET}?list-type=2&prefix={prefix}/").text
    keys = [part.partition("</Key>")[0] for part in listed.split("<Key>")[1:]]
    return [key.rpartition("/")[2] for key in keys if "/files/" in key]


async def test_what_one_machine_takes_the_other_ingests_finds_and_deletes(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = both.store(tmp_path / "a"), both.store(tmp_path / "b")
    corpus = queued(here, TEXTS)
    await ingest(there)
    (hit,) = await find(here, corpus.id, "are tickets refunded", 1)
    assert (hit.name, hit.similarity > 0.5) == ("a.txt", True)
    (file,) = [f for f in there.records.files(TENANT, Page()) if f.name == "a.txt"]
    assert there.uploads.read(file.digest).decode() == TEXTS["a.txt"]
    with pytest.raises(NotFound):
        here.find("another tenant", corpus.id)
    there.remove(file)
    assert "a.txt" not in {hit.name for hit in await find(here, corpus.id, "tickets refunded", 9)}
    monkeypatch.setattr(shared, "UNUSED_S", 0)
    there.clean()
    assert file.digest not in stored(both)
    here.records.drop_corpus(corpus.id)
    there.clean()
    assert not there._stored()  # noqa: SLF001
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir())), "nothing is kept here"


def test_two_machines_at_once_ingest_every_file_once(both: Both, tmp_path: Path) -> None:
    store = both.store(tmp_path / "a")
    corpus = queued(store, documents(0))
    processes = [both.ingesting(tmp_path / name) for name in "ab"]
    assert [process.wait(120) for process in processes] == [0, 0]
    whole = Store(tmp_path / "whole", "test")
    same = queued(whole, documents(0)).id
    asyncio.run(ingest(whole))
    expected = contents(whole, same)
    assert contents(store, corpus.id) == expected
    ids = store.table(corpus.id).ids()
    assert len(ids.seqs) == len(set(ids.seqs.tolist())) == len(expected)


def test_a_machine_that_is_killed_in_the_middle_is_taken_over_by_the_other(
    both: Both, tmp_path: Path
) -> None:
    store = both.store(tmp_path / "b")
    everything = {name: text for turn in range(2) for name, text in documents(turn).items()}
    corpus = queued(store, everything)
    killed = both.ingesting(tmp_path / "a")
    until(lambda: store.records.totals().get("completed", 0) > 0, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = store.records.totals()["completed"]
    assert done < len(everything), "the kill came too late to tell anything"
    asyncio.run(ingest(store))
    whole = Store(tmp_path / "whole", "test")
    same = queued(whole, everything).id
    asyncio.run(ingest(whole))
    assert contents(store, corpus.id) == contents(whole, same)
    assert len(store.table(corpus.id).ids().seqs) == len(contents(whole, same))


async def test_a_corpus_is_embedded_anew_by_one_machine_while_the_other_searches_it(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiffin.corpus.ingest.PERIOD_S", 0.3)
    before, after = both.store(tmp_path / "a"), both.store(tmp_path / "b", OTHER)
    corpus = queued(before, TEXTS)
    await ingest(before)
    expected = contents(before, corpus.id)
    before.records.ask_reembedding(before.find(TENANT, "test"), OTHER)
    with before.alone("reembedding"):
        working = asyncio.create_task(ingest(after, OTHER_WIDTH))
        await asyncio.sleep(1)
        assert after.records.reembedding(corpus.id) is not None, "one machine at a time"
        assert await find(before, corpus.id, "are tickets refunded", 1)
    await working
    assert before.find(TENANT, "test").embedder == OTHER
    assert contents(before, corpus.id) == expected


def test_a_lock_is_one_machine_s_and_ends_with_it(both: Both, tmp_path: Path) -> None:
    here, there = both.store(tmp_path / "a"), both.store(tmp_path / "b")
    for store in (here, there):
        with here.writing("vs_1"), pytest.raises(Timeout), store.writing("vs_1"):
            pass
    with there.writing("vs_1"):
        there.check_writing("vs_1")
        both.database.control("restart", "-m", "fast")
        with here.writing("vs_1"):
            with pytest.raises(Unavailable, match="let go of a lock"):
                there.check_writing("vs_1")
            with pytest.raises(Timeout), there.writing("vs_1"):
                pass
    with there.writing("vs_1"):
        there.check_writing("vs_1")


def test_bytes_that_come_again_stay_though_their_last_file_was_removed(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "UNUSED_S", 0)
    here, there = both.store(tmp_path / "a"), both.store(tmp_path / "b")
    queued(here, {"a.txt": TEXTS["a.txt"]})
    (file,) = here.records.files(TENANT, Page())
    here.remove(file)
    assert there.save(iter([TEXTS["a.txt"].encode()]))[0] == file.digest
    here.clean()
    assert file.digest in stored(both), "an upload of the same bytes is on its way"
    there.records.add_file(file)
    there.remove(file)
    here.clean()
    assert file.digest not in stored(both)


def test_numbers_of_chunks_grow_though_clocks_differ(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = both.store(tmp_path / "a"), both.store(tmp_path / "b")
    first = here.numbers(10)
    an_hour_ago = time.time_ns() - 3_600_000_000_000
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: an_hour_ago)
        assert there.numbers(5) == first + 10
    assert here.numbers(1) > first + 14


def test_the_tables_stay_where_they_are(both: Both, tmp_path: Path) -> None:
    both.store(tmp_path).numbers(1)
    moved = both.store(tmp_path, chunks=f"s3://{BUCKET}/other")
    with pytest.raises(SettingsError, match=f"set TIFFIN_CHUNKS={both.chunks}$"):
        moved.numbers(1)


@asynccontextmanager
async def replica(
    both: Both, machine: Path
) -> AsyncGenerator[tuple[httpx.AsyncClient, openai.AsyncOpenAI], None]:
    settings = load_settings(
        profile="laptop",
        home=machine,
        rag={"grounding": "off", "prefer": "write"},
        safety={"enabled": False},
        corpora=both.database.url,
        chunks=both.chunks,
    )
    services = Hashed()
    async with entry(services, settings) as http, asking(services) as client:
        await becomes(http, "ready")
        yield http, client


async def becomes(http: httpx.AsyncClient, state: str) -> None:
    """Wait until `/readyz` says so of corpora."""
    async with asyncio.timeout(40):
        while (await http.get("/readyz")).json()["corpora"] != state:
            await asyncio.sleep(0.05)


async def test_two_replicas_answer_from_what_either_was_given(both: Both, tmp_path: Path) -> None:
    async with (
        replica(both, tmp_path / "a") as (first, client),
        replica(both, tmp_path / "b") as (second, other),
    ):
        store = await filled(client, "help", {"handbook.md": HANDBOOK})
        answer = (await second.post("/rag_query", json=QUESTION)).json()
        assert "refunded within 14 days" in answer["answer"]
        (file,) = (await other.files.list()).data
        assert (await other.files.content(file.id)).text == HANDBOOK
        sent = await other.files.create(file=("tower.txt", TOWER.encode()), purpose="user_data")
        await other.vector_stores.files.create_and_poll(sent.id, vector_store_id=store.id)
        tower = {**QUESTION, "query": "how tall is the tower in Paris?"}
        assert "324 metres" in (await first.post("/rag_query", json=tower)).json()["answer"]
        await other.files.delete(file.id)
        found = await client.vector_stores.search(store.id, query="refunded tickets")
        assert {hit.filename for hit in found.data} == {"tower.txt"}
        await client.vector_stores.delete(store.id)
        assert (await second.post("/rag_query", json=QUESTION)).status_code == 404


@pytest.mark.parametrize("what", ["database", "object storage"])
async def test_a_replica_says_what_is_away_and_goes_on_when_it_is_back(
    both: Both, tmp_path: Path, what: str
) -> None:
    def go(*, away: bool) -> None:
        if what == "database":
            both.database.control(*(["stop", "-m", "fast"] if away else ["start"]))
        else:
            both.storage.process.send_signal(signal.SIGSTOP if away else signal.SIGCONT)

    async with replica(both, tmp_path) as (http, client):
        store = await filled(client, "help", {"handbook.md": HANDBOOK})
        file = (await client.files.list()).data[0]
        await asyncio.to_thread(go, away=True)
        try:
            await becomes(http, f"the {what} of corpora is away")
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["status"]) == (503, "down")
            asked = {"database": f"/v1/vector_stores/{store.id}"}
            path = asked.get(what, f"/v1/files/{file.id}/content")
            refused = await http.get(path, timeout=30)
            assert refused.status_code == 503
            assert refused.json()["error"]["message"] == f"the {what} of corpora is away"
            given = {"query": "how tall?", "documents": [TOWER], "model": "quote"}
            assert (await http.post("/rag_query", json=given)).status_code == 200
        finally:
            await asyncio.to_thread(go, away=False)
        await becomes(http, "ready")
        assert (await http.get("/readyz")).status_code == 200
        again = await filled(client, "more", {"tower.txt": TOWER})
        assert again.file_counts.completed == 1
        assert (await http.get(f"/v1/files/{file.id}/content")).text == HANDBOOK
        await client.vector_stores.delete(store.id)
        await client.vector_stores.delete(again.id)


def until(true: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait for it while the process works."""
    ends = time.monotonic() + 60
    while not true():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < ends
        time.sleep(0.01)
