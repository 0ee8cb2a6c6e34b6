"""A ledger that replicas share: a real PostgreSQL, processes that die, a database that restarts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from tests.support.postgres import Postgres, programs, running_postgres
from tests.support.stack import free_port
from tiffin.cli.main import main
from tiffin.config.section import SettingsError
from tiffin.config.settings import load_settings
from tiffin.core.context import Attempt
from tiffin.routing.ledger import REFRESH_S, Entry, Ledger
from tiffin.routing.storage import LedgerError, open_storage

FOLDER = programs()
needs_postgres = pytest.mark.skipif(
    FOLDER is None, reason="no PostgreSQL here: install Debian's package postgresql"
)

WRITER = """
import asyncio, sys, time
from tiffin.core.context import Attempt
from tiffin.routing.ledger import Entry, Ledger

async def main():
    ledger = Ledger(sys.argv[1])
    for number in range(int(sys.argv[3])):
        entry = Entry(f"{sys.argv[2]}-{number}", "acme", "k1", "auto", time.time())
        await ledger.opened(entry, Attempt(0, "mid", "m", "openai"))
        print(entry.request_id, flush=True)
    ledger.close()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    assert FOLDER is not None
    with running_postgres(FOLDER) as server:
        yield server


def writer(url: str, name: str, rows: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, name, str(rows)],
        env={**os.environ, "PYTHONPATH": "."},
        stdout=subprocess.PIPE,
        text=True,
    )


def written(url: str, name: str) -> set[str]:
    books = open_storage(url)
    rows = books.read("SELECT request_id FROM attempts WHERE request_id LIKE ?", (f"{name}-%",))
    books.close()
    return {row[0] for row in rows}


def spend(ledger: Ledger, name: str, usd: float) -> None:
    entry = Entry(name, "acme", "shared", "auto", time.time())
    ledger.closed(entry, Attempt(0, "mid", "m", "openai", outcome="ok", usd=usd))


async def reaches(ledger: Ledger, usd: float) -> None:
    async with asyncio.timeout(5 * REFRESH_S):
        while ledger.spent("shared").key_usd != pytest.approx(usd):
            await asyncio.sleep(0.05)


@needs_postgres
@pytest.mark.slow
def test_two_processes_write_and_what_was_acknowledged_outlives_a_kill(postgres: Postgres) -> None:
    killed, other = writer(postgres.url, "killed", 100_000), writer(postgres.url, "other", 200)
    with killed, other:
        assert killed.stdout is not None
        assert other.stdout is not None
        told = [killed.stdout.readline().strip() for _ in range(100)]
        killed.send_signal(signal.SIGKILL)
        told += killed.stdout.read().split("\n")[:-1]
        assert len(set(other.stdout.read().split())) == 200
    assert (killed.returncode, other.returncode) == (-signal.SIGKILL, 0)
    assert set(told) <= written(postgres.url, "killed")
    assert len(written(postgres.url, "other")) == 200
    printed = CliRunner().invoke(main, ["costs", "--ledger", postgres.url, "--by", "tenant"])
    assert printed.exit_code == 0, printed.output
    assert "acme" in printed.output


@needs_postgres
@pytest.mark.slow
async def test_what_one_replica_spends_counts_towards_the_caps_of_the_other(
    postgres: Postgres,
) -> None:
    here, there = Ledger(postgres.url), Ledger(postgres.url)
    spend(here, "a", 0.25)
    spend(here, "b", 0.5)
    assert here.spent("shared").key_usd == pytest.approx(0.75), "its own at once"
    await reaches(there, 0.75)
    spend(there, "c", 1.0)
    assert there.spent("shared").key_usd == pytest.approx(1.75)
    await reaches(here, 1.75)
    here.close()
    there.close()


@needs_postgres
@pytest.mark.slow
async def test_a_database_that_restarts_loses_no_row(postgres: Postgres) -> None:
    ledger = Ledger(postgres.url)
    entry = Entry("before-1", "acme", "k1", "auto", time.time())
    await ledger.opened(entry, Attempt(0, "mid", "m", "openai"))
    postgres.control("restart", "-m", "fast")
    after = Entry("after-1", "acme", "k1", "auto", time.time())
    await ledger.opened(after, Attempt(0, "mid", "m", "openai"))
    ledger.close()
    assert written(postgres.url, "before") | written(postgres.url, "after") == {
        "before-1",
        "after-1",
    }


def test_a_database_that_nobody_serves_ends_the_start_with_one_line() -> None:
    with pytest.raises(LedgerError, match="cannot be opened") as raised:
        Ledger(f"postgresql://tiffin@127.0.0.1:{free_port()}/costs")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://host/costs", "postgresql://user@host/database"),
        ("postgresql://host", "postgresql://user@host/database"),
        ("postgresql://me:secret@host/costs", "PGPASSWORD"),
    ],
)
def test_an_address_that_cannot_be_is_refused_and_keeps_no_password(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as raised:
        load_settings(profile="laptop", routing={"ledger": url})
    assert "secret" not in str(raised.value)


@needs_postgres
@pytest.mark.slow
def test_prune_forgets_old_days_while_a_replica_has_the_database_open(postgres: Postgres) -> None:
    now = time.time()
    ledger = Ledger(postgres.url)
    for name, days in (("prune-old", 450), ("prune-new", 1)):
        entry = Entry(name, "pruned", "k", "auto", now - days * 86_400)
        ledger.closed(entry, Attempt(0, "mid", "m", "openai", outcome="ok", usd=0.1))
    ledger.close()
    replica = Ledger(postgres.url)
    command = ["prune", "--older-than", "400d", "--ledger", postgres.url, "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["attempts"] == 1
    replica.closed(
        Entry("prune-later", "pruned", "k", "auto", now),
        Attempt(0, "mid", "m", "openai", outcome="ok", usd=0.1),
    )
    replica.close()
    assert written(postgres.url, "prune") == {"prune-new", "prune-later"}
