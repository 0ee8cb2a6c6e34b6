"""A server of this version on the folder of an earlier one.

`earlier.tar.xz` is what the version named in its `told.json` wrote, and `earlier_ledger.sql` what
its first line's wrote into PostgreSQL; `make.py` makes both.
"""

import asyncio
import base64
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from tests.support.corpora import Hashed, asking, filled
from tests.support.postgres import programs, running_postgres
from tests.support.redis import running_redis, wait_for_redis
from tests.support.services import entry
from tiffin.cli.main import main
from tiffin.config.settings import Settings, load_settings
from tiffin.core.context import Attempt
from tiffin.routing.ledger import Entry, Ledger
from tiffin.routing.limits import PostgresBuckets
from tiffin.routing.storage import open_storage
from tiffin.traffic.key_file import KeyFile
from tiffin.traffic.keys import KeyRing

EARLIER = Path(__file__).with_name("earlier.tar.xz")
SHARED = Path(__file__).with_name("earlier_ledger.sql")
NOW = 1_790_000_100.0
"""Of the same day as what the earlier version wrote."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The earlier version's folder, which is now ours."""
    with tarfile.open(EARLIER) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.setenv("TIFFIN_HOME", str(tmp_path))
    monkeypatch.setenv("TIFFIN_ACCESS__KEYS_FILE", str(tmp_path / "keys.json"))
    return tmp_path


def told(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "told.json").read_text())
    return found


def settings_of(home: Path, **cache: Any) -> Settings:
    return load_settings(
        profile="laptop",
        corpora=home / "corpora",
        cache=cache,
        rag={"grounding": "off", "prefer": "write"},
        safety={"enabled": False},
    )


@pytest.mark.slow
async def test_corpora_of_an_earlier_version_answer_as_before_and_grow(home: Path) -> None:
    was, services = told(home), Hashed()
    headers = {"authorization": f"Bearer {was['key']}"}
    async with entry(services, settings_of(home)) as http, asking(services, was["key"]) as client:
        answered = (await http.post("/rag_query", json=was["question"], headers=headers)).json()
        assert answered["answer"] == was["answer"]
        assert [source["text"] for source in answered["sources"]] == was["sources"]
        assert not services.embedded[0][1:], "only the question is embedded: nothing is done again"
        (help_,) = [store for store in await stores(client) if store.name == "help"]
        health = await http.get(f"/v1/vector_stores/{help_.id}/health", headers=headers)
        assert health.status_code == 200, health.text
        await filled(client, "new", {"lake.txt": "The lake is 12 metres deep."})
        asked = was["question"] | {"query": "how deep is the lake?", "corpus": "new"}
        new = (await http.post("/rag_query", json=asked, headers=headers)).json()
        assert "12 metres" in new["answer"]


async def stores(client: Any) -> list[Any]:
    return [store async for store in client.vector_stores.list()]


def test_keys_of_an_earlier_version_still_open_the_door_and_stand_beside_new_ones(
    home: Path,
) -> None:
    was = told(home)
    new = KeyFile(home / "keys.json").create("new", tenant="acme", day_usd=1.0)
    ring = KeyRing(home / "keys.json")
    found = ring.find(was["key"])
    assert found is not None
    assert (found.name, found.tenant, found.requests_per_minute) == ("web", "acme", 600)
    assert ring.find(new) is not None


def test_the_ledger_of_an_earlier_version_is_read_replayed_and_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on(home / "ledger.sqlite3", monkeypatch)


@pytest.mark.slow
async def test_a_shared_ledger_of_an_earlier_version_goes_on_too_whoever_starts_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = programs()
    if folder is None:
        pytest.skip("no PostgreSQL here: install Debian's package postgresql")
    with running_postgres(folder) as server:
        psql = str((folder / "initdb").resolve().with_name("psql"))
        command = [psql, "-q", "-v", "ON_ERROR_STOP=1"]
        subprocess.run([*command, "-f", SHARED, server.url], check=True, stdout=subprocess.DEVNULL)  # noqa: ASYNC221
        opened = await asyncio.gather(
            *(asyncio.to_thread(open_storage, server.url) for _ in range(4))
        )
        for storage in opened:
            storage.close()
        monkeypatch.setenv("TIFFIN_ROUTING__LEDGER", server.url)
        goes_on(server.url, monkeypatch)
        limits = PostgresBuckets(server.url)
        assert await limits.take("web", 10, 1, 1) == (True, 9.0), "a table that is new"
        await limits.close()


def goes_on(ledger: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was spent counts, is replayed, and more is written beside it."""
    books = Ledger(ledger, now=lambda: NOW)
    assert books.spent("web", "acme").key_usd == pytest.approx(0.25)
    later = Attempt(0, "large", "big", "openai", outcome="ok", usd=0.5)
    books.closed(Entry("req-2", "acme", "web", "auto", NOW), later)
    books.close()
    costs = CliRunner().invoke(main, ["costs", "--by", "tenant", "--json"])
    (row,) = json.loads(costs.stdout)
    assert (row["tenant"], row["answers"], row["usd"]) == ("acme", 2, pytest.approx(0.75))
    monkeypatch.setenv("TIFFIN_TIERS__LARGE__MODEL", "qwen2.5-coder-1.5b-instruct")
    replayed = CliRunner().invoke(main, ["router", "replay", "--policy", "auto", "--json"])
    assert json.loads(replayed.stdout)["recorded"]["requests"] == 1


@pytest.mark.slow
async def test_answers_that_an_earlier_version_kept_do_no_harm(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_redis(monkeypatch)
    was, services = told(home), Hashed()
    key = KeyFile(home / "keys.json").create("unlimited", tenant="acme")
    headers = {"authorization": f"Bearer {key}"}
    with running_redis(home) as server:
        raw: Redis = Redis.from_url(server.url)
        for name, value in was["kept"].items():
            await raw.restore(base64.b64decode(name), 0, base64.b64decode(value))
        await raw.aclose()
        async with entry(services, settings_of(home, exact=True, redis=server.url)) as http:
            for path, body in (("rag_query", "question"), ("v1/chat/completions", "chat")):
                for wanted in ("miss", "exact"):
                    sent = await http.post(f"/{path}", json=was[body], headers=headers)
                    assert sent.status_code == 200, sent.text
                    assert sent.headers["x-tiffin-cache"] == wanted, path
