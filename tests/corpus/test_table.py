"""The rules under which LanceDB is used (FACTS of its users, by issue), each shown to hold."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import numpy as np
import pytest

from tests.support.ingesting import vectors_of
from tiffin.config.section import SettingsError
from tiffin.corpus.document import Chunk
from tiffin.corpus.lance import connect
from tiffin.corpus.layout import LAYOUT, Layout, write_layout
from tiffin.corpus.memory import LIMITS
from tiffin.corpus.store import Store
from tiffin.corpus.table import Table
from tiffin.corpus.vectors import Vectors


def chunks_of(*texts: str) -> list[Chunk]:
    return [Chunk(text, 0, len(text), None, ()) for text in texts]


def append(table: Table, file: str, *texts: str, first: int) -> None:
    table.append({file: chunks_of(*texts)}, vectors_of(texts), first)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(connect(str(tmp_path / "chunks")), "vs_1")


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    one, other = Store(tmp_path, "m"), Store(tmp_path, "m")
    _ = one.records
    with one.writing("vs_1"), pytest.raises(filelock.Timeout), other.writing("vs_1"):
        pass
    with other.writing("vs_1"):
        pass


def test_a_reader_sees_at_once_what_another_connection_wrote(tmp_path: Path, table: Table) -> None:
    reader = Table(connect(str(tmp_path / "chunks")), "vs_1")
    append(table, "a", "one", first=1)
    assert reader.health().chunks == 1
    append(table, "b", "two", first=2)
    assert reader.words("two", 5) != []
    assert Vectors().refreshed(reader).seqs.tolist() == [1, 2]


def test_words_are_found_before_and_after_they_are_indexed(table: Table) -> None:
    append(table, "a", "an apple", first=1)
    table.compact()
    append(table, "b", "a pear", first=2)
    assert table.health().unindexed == 1
    assert [seq for seq, _ in table.words("pears apples", 5)] == [2, 1]
    table.compact()
    assert table.health().unindexed == 0
    assert {seq for seq, _ in table.words("pears apples", 5)} == {1, 2}


def test_words_of_languages_without_spaces_are_found(table: Table) -> None:
    append(table, "a", "東京の人口は多い", "大阪の天気", first=1)
    table.compact()
    assert [seq for seq, _ in table.words("人口", 5)] == [1]


def test_a_file_that_is_written_twice_is_there_once(table: Table) -> None:
    append(table, "a", "one", "two", first=1)
    append(table, "a", "one", "two", first=3)
    assert table.ids()[0].tolist() == [3, 4]
    assert len(table.text_of("a")) == 2


def test_a_chunk_that_moved_is_missing_rather_than_another_one(table: Table) -> None:
    for number, text in enumerate(("one", "two", "three"), start=1):
        append(table, f"f{number}", text, first=number)
    before = Vectors().refreshed(table)
    table.delete(["f1"])
    table.compact()
    assert table.rows([int(before.places[1])]) == {}
    after = before.refreshed(table)
    assert table.rows([int(after.places[0])])[2].text == "two"


def test_old_versions_outlive_the_searches_that_read_them(tmp_path: Path, table: Table) -> None:
    append(table, "a", "one", first=1)
    table.compact()
    old = connect(str(tmp_path / "chunks")).open_table("vs_1")
    old.checkout(2)
    append(table, "b", "two", first=2)
    table.compact()
    assert old.count_rows() == 1


def test_the_vectors_in_memory_follow_every_change(table: Table) -> None:
    random = np.random.default_rng(0)
    followed, first = Vectors(), 1
    for step in range(12):
        texts = [f"text {first + n}" for n in range(int(random.integers(1, 6)))]
        append(table, f"f{random.integers(4)}", *texts, first=first)
        first += len(texts)
        if step % 3 == 0:
            table.delete([f"f{random.integers(4)}"])
        if step % 5 == 0:
            table.compact()
        followed, fresh = followed.refreshed(table), Vectors().refreshed(table)
        assert followed.seqs.tolist() == fresh.seqs.tolist() == sorted(table.ids()[0].tolist())
        assert np.array_equal(followed.rows, fresh.rows)
        assert followed.places.tolist() == fresh.places.tolist()
        files = [followed.names[code] for code in followed.files]
        assert files == [fresh.names[code] for code in fresh.files]


def test_a_folder_of_a_newer_lancedb_is_refused(tmp_path: Path) -> None:
    Store(tmp_path, "m").records.close()
    write_layout(tmp_path / "layout.json", Layout(LAYOUT, "999.0.0"))
    with pytest.raises(SettingsError, match=r"written by layout 2 with LanceDB 999\.0\.0"):
        _ = Store(tmp_path, "m").records


def test_a_start_without_corpora_imports_no_lancedb() -> None:
    script = "import sys, tiffin.composition; sys.exit('lancedb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_lancedb_reads_little_ahead_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANCE_CPU_THREADS", "5")
    connect(str(tmp_path))
    assert (os.environ["LANCE_CPU_THREADS"], "LANCE_DEFAULT_IO_BUFFER_SIZE" in os.environ) == (
        "5",
        True,
    )


def test_records_are_read_while_the_first_table_loads_lancedb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, loaded = threading.Event(), threading.Event()

    def slow(address: str) -> object:
        loads.set()
        loaded.wait(20)
        return connect(address)

    monkeypatch.setattr("tiffin.corpus.store.connect", slow)
    store = Store(tmp_path, "m")
    loader = threading.Thread(target=store.table, args=("c",))
    loader.start()
    assert loads.wait(20)
    records: list[object] = []
    reader = threading.Thread(target=lambda: records.append(store.records), daemon=True)
    reader.start()
    reader.join(10)
    loaded.set()
    loader.join()
    assert records == [store.records]
