"""A backup of a server that serves, restored into an empty one, which then answers as before."""

import json
import sqlite3
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.corpora import HANDBOOK, Hashed, asking, filled
from tests.support.ingesting import queued
from tests.support.services import entry
from tiffin.cli.main import main
from tiffin.config.settings import load_settings
from tiffin.core.context import Attempt
from tiffin.corpus import copying
from tiffin.corpus.store import Store
from tiffin.routing.ledger import Entry, Ledger
from tiffin.routing.storage import open_storage
from tiffin.traffic.key_file import KeyFile
from tiffin.traffic.keys import KeyRing

QUESTION = {"query": "when are tickets refunded?", "corpus": "help", "model": "quote"}
DAY_S = 86_400


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Goes to the Tiffin of that name, whose state is in a folder of its own."""

    def go(name: str) -> Path:
        monkeypatch.setenv("TIFFIN_HOME", str(tmp_path / name))
        monkeypatch.setenv("TIFFIN_ACCESS__KEYS_FILE", str(tmp_path / name / "keys.json"))
        return tmp_path / name

    return go


def tiffin(*words: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def record(ledger: Path, at: float, number: int = 0) -> None:
    """An answer that cost a dollar."""
    books = Ledger(ledger, now=lambda: at)
    entry_ = Entry(f"req-{number}", "acme", "web", "", at)
    books.closed(entry_, Attempt(0, "large", "m", "openai", outcome="ok", usd=1.0))
    books.close()


@pytest.mark.slow
async def test_what_was_backed_up_while_serving_answers_in_another_place(
    tmp_path: Path, home: Callable[[str], Path]
) -> None:
    rag = {"grounding": "off", "prefer": "write"}
    old, archive = home("old"), tmp_path / "all.tar"
    key = KeyFile(old / "keys.json").create("web", tenant="acme")
    (old / "catalog.yaml").write_text("models: []\n")
    record(old / "ledger.sqlite3", time.time())
    settings = load_settings(
        profile="laptop", rag=rag, safety={"enabled": False}, corpora=old / "corpora"
    )
    services = Hashed()
    headers = {"authorization": f"Bearer {key}"}
    async with entry(services, settings) as http:
        async with asking(services, key) as client:
            await filled(client, "help", {"handbook.md": HANDBOOK})
        before = (await http.post("/rag_query", json=QUESTION, headers=headers)).json()
        result = tiffin("backup", archive, "--json")
    told = json.loads(result.stdout)
    assert told["parts"] == ["catalog.yaml", "corpora", "keys.json", "ledger.sqlite3"]
    assert archive.stat().st_mode & 0o777 == 0o600, "it holds documents"

    new = home("new")
    assert tiffin("restore", archive).exit_code == 0
    settings = load_settings(
        profile="laptop", rag=rag, safety={"enabled": False}, corpora=new / "corpora"
    )
    async with entry(Hashed(), settings) as http:
        after = (await http.post("/rag_query", json=QUESTION, headers=headers)).json()
    assert "refunded within 14 days" in after["answer"]
    assert after["sources"] == before["sources"]
    assert KeyRing(new / "keys.json").find(key) is not None
    (row,) = json.loads(tiffin("costs", "--by", "tenant", "--json").stdout)
    assert (row["tenant"], row["answers"]) == ("acme", 1)

    again = tiffin("restore", archive)
    assert again.exit_code == 1
    assert "is there already: move it away" in again.stderr


def test_what_changes_during_a_backup_is_ingested_again_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "live", "test")
    texts = {name: f"text of {name}" for name in ("kept", "removed", "again")}
    corpus = queued(store, texts).id
    other = queued(store, {"alone": "in a corpus that goes"}).id
    members = {file.name: file for _, file in store.records.waiting("test", 9)}
    for one in (corpus, other):
        owned = [
            member.file for member, _ in store.records.waiting("test", 9) if member.corpus == one
        ]
        store.records.complete(one, dict.fromkeys(owned, 1))
    link = copying._link_table  # noqa: SLF001  the moment after the records are copied

    def meanwhile(*paths: Path) -> None:
        link(*paths)
        if store.records.file("default", members["removed"].id) is not None:
            store.remove(members["removed"])
            store.records.drop_corpus(other)
            waiting = store.records.member(corpus, members["again"].id)
            assert waiting is not None
            store.records.add_members([waiting])

    monkeypatch.setattr(copying, "_link_table", meanwhile)
    into = tmp_path / "copy"
    into.mkdir()
    copying.copy_corpora(store.folder, into)
    copy = Store(into, "test")
    assert [one.id for one in copy.records.all_corpora()] == [corpus]
    assert {file.name for file in copy.records.visible(corpus).values()} == {"kept"}
    assert [file.name for _, file in copy.records.waiting("test", 9)] == ["again"]
    assert copy.uploads.read(members["again"].digest) == b"text of again"
    copy.close()
    store.close()


@pytest.mark.parametrize("harm", ["cut off", "changed", "newer", "another file"])
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_restored(
    tmp_path: Path, home: Callable[[str], Path], harm: str
) -> None:
    KeyFile(home("old") / "keys.json").create("web")
    archive = tmp_path / "all.tar"
    assert tiffin("backup", archive).exit_code == 0
    content = archive.read_bytes()
    with tarfile.open(archive) as tar:
        keys, manifest = tar.getmember("keys.json"), tar.getmember("manifest.json")
    harmed: dict[str, tuple[bytes, str]] = {
        "cut off": (content[: manifest.offset], "cut off"),
        "changed": (_changed(content, keys.offset_data + 9), "damaged: keys.json"),
        "newer": (content.replace(b'"format": 1', b'"format": 9'), "install that version"),
        "another file": (b"no tar" * 1000, "no backup"),
    }
    archive.write_bytes(harmed[harm][0])
    new = home("new")
    result = tiffin("restore", archive)
    assert result.exit_code == 1
    assert harmed[harm][1] in result.stderr
    assert not list(new.iterdir())


def test_corpora_that_replicas_share_are_left_out_with_what_to_use_and_not_restored(
    tmp_path: Path, home: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, local, shared = home("old"), tmp_path / "local.tar", tmp_path / "shared.tar"
    queued(Store(folder / "corpora", "test"), {"a": "text"})
    assert tiffin("backup", local).exit_code == 0
    monkeypatch.setenv("TIFFIN_CORPORA", "postgresql://tiffin@127.0.0.1/tiffin")
    monkeypatch.setenv("TIFFIN_CHUNKS", "s3://bucket/corpora")
    result = tiffin("backup", shared)
    assert result.exit_code == 0, "the rest is copied, and no database is asked"
    assert "not in it: corpora, because replicas share them in PostgreSQL" in result.stderr
    assert "use pg_dump, then copy the bucket" in result.stderr
    result = tiffin("restore", local)
    assert result.exit_code == 1
    assert "TIFFIN_CORPORA is a database: restore it without" in result.stderr


def _changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_prune_removes_old_days_and_keeps_what_budgets_need(home: Callable[[str], Path]) -> None:
    ledger, now = home("old") / "ledger.sqlite3", time.time()
    for number, days in enumerate((500, 420, 100, 0)):
        record(ledger, now - days * DAY_S, number)
    with closing(sqlite3.connect(ledger)) as books, books:
        for number, days in enumerate((500, 100)):
            values = (f"req-{number}", now - days * DAY_S, b"")
            books.execute("INSERT INTO decisions VALUES (?, ?, ?)", values)
    told: dict[str, Any] = json.loads(tiffin("prune", "--older-than", "400d", "--json").stdout)
    assert (told["attempts"], told["decisions"]) == (2, 1)
    storage = open_storage(ledger)
    assert storage.read("SELECT COUNT(*) FROM attempts") == [(2,)]
    assert storage.read("SELECT COUNT(*) FROM decisions") == [(1,)]
    storage.close()
    assert tiffin("prune", "--older-than", "7d").exit_code == 2
