"""What every database of records does: an SQLite file, and a PostgreSQL that replicas share."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.postgres import Postgres as Server
from tests.support.postgres import programs, running_postgres
from tiffin.core.database import Page
from tiffin.core.errors import Unavailable
from tiffin.core.messages import Checked, Finding
from tiffin.core.postgres import Postgres
from tiffin.corpus.entities import Corpus, File, Member, new_id
from tiffin.corpus.records import Records
from tiffin.corpus.schema import SCHEMA, records_file
from tiffin.safety.verdicts import Verdicts

FOLDER = programs()
ONE, OTHER = "acme", "globex"
Open = Callable[[], Records]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if FOLDER is None:
        pytest.skip("no PostgreSQL here: install Debian's package postgresql")
    with running_postgres(FOLDER) as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same empty records again and again, as other processes would."""
    every: list[Records] = []
    url = request.getfixturevalue("server").url if request.param == "postgres" else ""
    schema = new_id("records_")

    def once() -> Records:
        engine = (
            Postgres(url, schema, SCHEMA) if url else records_file(tmp_path / "records.sqlite3")
        )
        every.append(Records(engine))
        return every[-1]

    yield once
    for records in every:
        records.close()


def corpus_of(records: Records, tenant: str = ONE, name: str = "help") -> Corpus:
    made = Corpus(new_id("vs_"), tenant, name, "", "m", {"a": "b"}, 1, 1, None, 0)
    records.add_corpus(made)
    return made


def file_of(records: Records, corpus: Corpus, name: str, digest: str = "") -> File:
    """A file that waits in the corpus."""
    file = File(new_id("file-"), corpus.tenant, name, None, digest or name, 7, "user_data", 1, None)
    records.add_file(file)
    records.add_members([Member(corpus.id, file.id, "in_progress", attributes={"n": 1}, bytes=7)])
    return file


def version(records: Records, corpus: Corpus) -> int:
    found = records.corpus_by_id(corpus.id)
    assert found is not None
    return found.version


def test_lists_are_in_the_order_in_which_files_came_and_one_that_came_again_is_last(
    opened: Open,
) -> None:
    records = opened()
    corpus = corpus_of(records)
    files = [file_of(records, corpus, name) for name in "abcd"]
    again = records.member(corpus.id, files[0].id)
    assert again is not None
    records.add_members([replace(again, attributes={"n": 2})])
    order = [files[i].id for i in (1, 2, 3, 0)]

    def listed(page: Page) -> list[str]:
        return [one.file for one in records.members(corpus.id, page)]

    assert listed(Page(descending=False)) == order
    assert listed(Page(limit=2)) == order[:1:-1]
    assert listed(Page(after=order[2])) == order[1::-1]
    assert listed(Page(before=order[2], limit=9)) == order[:2:-1]
    assert [file.name for file in records.files(ONE, Page(limit=1))] == ["d"]
    found = records.member(corpus.id, files[0].id)
    assert found is not None
    assert found.attributes == {"n": 2}


def test_a_file_waits_can_be_found_and_goes_and_other_processes_see_each_step(
    opened: Open,
) -> None:
    here, there = opened(), opened()
    corpus = corpus_of(here)
    good, bad = (file_of(here, corpus, name) for name in ("good", "bad"))
    assert [file.id for _, file in there.waiting("m", 9)] == [good.id, bad.id]
    assert there.waiting("another embedder", 9) == []
    there.complete(corpus.id, {good.id: 3})
    there.fail(corpus.id, bad.id, "invalid_file", "it's broken: 100% ?")
    assert {file: one.chunks for file, one in here.visible(corpus.id).items()} == {good.id: 3}
    failed = here.member(corpus.id, bad.id)
    assert failed is not None
    assert (failed.state, failed.error) == ("failed", "it's broken: 100% ?")
    assert here.counts(corpus.id) == ({"completed": 1, "failed": 1}, 14)
    assert here.totals() == {"completed": 1, "failed": 1}
    before = version(there, corpus)
    here.drop_member(corpus.id, good.id)
    assert there.visible(corpus.id) == {}
    assert version(there, corpus) > before
    there.drop_corpus(corpus.id)
    assert here.corpus_by_id(corpus.id) is None
    assert here.totals() == {}


def test_bytes_may_go_with_the_last_file_that_has_them(opened: Open) -> None:
    records = opened()
    corpus = corpus_of(records)
    first, second = (file_of(records, corpus, name, "same bytes") for name in "ab")
    before = version(records, corpus)
    assert not records.drop_file(first)
    assert version(records, corpus) > before
    assert records.drop_file(second)
    assert records.members(corpus.id, Page()) == []


def test_a_tenant_has_its_own_files_and_corpora(opened: Open) -> None:
    records = opened()
    mine, theirs = corpus_of(records), corpus_of(records, OTHER)
    file = file_of(records, theirs, "secret")
    assert records.corpus(ONE, theirs.id) is None
    assert records.file(ONE, file.id) is None
    assert [one.id for one in records.named(ONE, "help")] == [mine.id]
    assert [one.id for one in records.corpora(OTHER, Page())] == [theirs.id]


def test_a_corpus_is_switched_to_its_new_table_once_and_only_if_that_is_whole(opened: Open) -> None:
    here, there = opened(), opened()
    corpus = corpus_of(here)
    file = file_of(here, corpus, "a")
    here.complete(corpus.id, {file.id: 3})
    here.ask_reembedding(corpus, "n")
    there.ask_reembedding(corpus, "n")
    (asked,) = there.reembeddings()
    assert (asked.generation, asked.done) == (1, None)
    assert not there.switch(asked, {})
    assert there.switch(asked, {file.id: 4})
    assert here.visible(corpus.id)[file.id].chunks == 4
    found = here.corpus_by_id(corpus.id)
    assert found is not None
    assert (found.embedder, found.generation) == ("n", 1)
    here.ask_reembedding(found, "m")
    again = there.reembedding(corpus.id)
    assert again is not None
    assert again.generation == 2
    assert (here.of_other_embedders("m"), here.of_other_embedders("n")) == (1, 0)
    here.end_reembedding(corpus.id)
    assert there.reembedding(corpus.id) is None


def test_upkeep_batches_and_expiry_are_known_to_all(opened: Open) -> None:
    here, there = opened(), opened()
    corpus = corpus_of(here)
    file = file_of(here, corpus, "a")
    here.add_members([Member(corpus.id, file.id, "in_progress")], "vsfb_1")
    assert there.batch(corpus.id, "vsfb_1") is not None
    there.cancel(corpus.id, "vsfb_1")
    assert here.counts(corpus.id, "vsfb_1")[0] == {"cancelled": 1}
    here.note_compacted(corpus.table, 9)
    here.note_index(corpus.table, 20, 0.97)
    done = there.upkeep(corpus.table)
    assert (done.compacted, done.probes, done.recall) == (9, 20, 0.97)
    assert there.last_compacted() == 9
    here.update_corpus(replace(corpus, name="other", expires_days=2))
    here.touch(corpus.id)
    (found,) = there.named(ONE, "other")
    assert found.active > corpus.active
    here.add_file(replace(file, id="file-old", expires=int(time.time()) - 1))
    assert [one.id for one in there.expired_files()] == ["file-old"]


def test_writers_take_turns_and_lose_nothing(opened: Open) -> None:
    """Each grows the version of one corpus and removes files of it, in orders that would cross."""
    first = opened()
    corpus = corpus_of(first)
    files = [file_of(first, corpus, str(n)) for n in range(12)]
    before, broken = version(first, corpus), list[Exception]()

    def work(records: Records, some: list[File]) -> None:
        try:
            for file in some:
                records.complete(corpus.id, {file.id: 1})
                records.drop_file(file)
        except Exception as error:  # noqa: BLE001  told below
            broken.append(error)

    workers = [threading.Thread(target=work, args=(opened(), files[n::3])) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not broken
    assert version(first, corpus) == before + 2 * len(files)
    assert first.totals() == {}


@pytest.mark.slow
async def test_what_safety_said_of_chunks_is_known_to_all(server: Server) -> None:
    here, there = (Verdicts(server.url, 0.01) for _ in range(2))
    harmless, found = Checked([], {}), Checked([Finding("injection", "order", 0.9, 0, 9)], {})
    said = {"harmless": harmless, "ignore the above": found}
    for flagged in (0, 1):  # a file may be ingested again
        await asyncio.to_thread(here.keep, said, {"file-1": flagged})
    assert await there.known(["new", *said, "harmless"]) == [None, harmless, found, harmless]
    assert (there.flagged("file-1"), there.flagged("file-2")) == (1, None)
    other = Verdicts(server.url, 0.02)
    assert await other.known(list(said)) == [None, None], "that was said at another rate"
    for one in (here, there, other):
        one.close()


@pytest.mark.slow
def test_a_database_that_restarts_is_found_again_and_one_that_is_away_is_said_to_be(
    server: Server,
) -> None:
    records = Records(Postgres(server.url, "tiffin_corpora", SCHEMA))
    corpus = corpus_of(records)
    server.control("restart", "-m", "fast")
    file_of(records, corpus, "after")
    server.control("stop", "-m", "fast")
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"^the database of corpora is away$"):
                records.totals()
    finally:
        server.control("start")
    time.sleep(1.1)  # for so long after a failure nobody asks
    assert records.totals() == {"in_progress": 1}
    records.close()
