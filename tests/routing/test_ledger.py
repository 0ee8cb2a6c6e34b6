"""The ledger keeps every attempt, and what a crash leaves of it."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from models.values import Finished, TokenUsage
from tests.routing.fleets import settings_with
from tiffin.cli.main import main
from tiffin.config.settings import Settings
from tiffin.core.context import Attempt, RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.messages import RouteDecision, RouteRequest
from tiffin.routing.assembly import decider_of, fleet_of
from tiffin.routing.ledger import Entry, Ledger, Recorded
from tiffin.routing.meter import COMMIT_S, Meter
from tiffin.routing.replay import read_decisions
from tiffin.routing.storage import LedgerError

USAGE = TokenUsage(prompt_tokens=1000, completion_tokens=100)
DECISION = RouteDecision("mid", "test", [], policy="auto")

CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
from tiffin.core.context import Attempt
from tiffin.routing.ledger import Entry, Ledger

async def main():
    ledger = Ledger(Path(sys.argv[1]))
    entry = Entry("req-1", "acme", "k1", "auto", 1_800_000_000.0)
    await ledger.opened(entry, Attempt(0, "mid", "m", "openai", usd=0.5))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def answered(meter: Meter, *, tenant: str, key: str) -> None:
    context = RequestContext(Deadline.after(5), tenant=tenant, key=key)
    running = meter.open("mid", DECISION, 900, context)
    await meter.first(running)
    meter.close(running, "ok", Finished("stop", USAGE))


async def test_costs_are_summed_by_tenant_key_tier_and_day(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(path)
    meter = Meter(fleet_of(settings_with()), ledger)
    for key in ("k1", "k1", "k2"):
        await answered(meter, tenant="acme", key=key)
    spent = ledger.spent("k1")
    ledger.close()
    one = 1000 * 1e-6 + 100 * 4e-6
    assert (spent.key_usd, spent.day_usd) == pytest.approx((2 * one, 3 * one))
    again = Ledger(path)
    assert again.spent("k1").day_usd == pytest.approx(3 * one), "caps outlive a restart"
    again.close()
    printed = CliRunner().invoke(main, ["costs", "--ledger", str(path), "--by", "key,tier"])
    assert printed.exit_code == 0, printed.output
    assert f"{2 * one:.6f}" in printed.output
    assert f"{2 * (1000 * 10e-6 + 100 * 30e-6):.6f}" in printed.output
    words = ["costs", "--ledger", str(path), "--by", "model,provider,policy", "--json"]
    (row,) = json.loads(CliRunner().invoke(main, words).output)
    assert (row["model"], row["attempts"], row["usd"]) == ("m", 3, pytest.approx(3 * one))
    assert {"provider", "policy"} <= set(row)


async def test_rows_that_no_one_waits_for_are_committed_with_the_next_attempt_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiffin.routing.ledger.COALESCE_S", 60)
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    first, second = (Entry(name, "acme", "k1", "auto", 1.8e9) for name in ("req-1", "req-2"))
    async with asyncio.timeout(10):
        await ledger.opened(first, Attempt(0, "mid", "m", "openai"))
        ledger.closed(first, Attempt(0, "mid", "m", "openai", outcome="ok"))
        await ledger.opened(second, Attempt(0, "mid", "m", "openai"))
        rows = sqlite3.connect(tmp_path / "ledger.sqlite3").execute("SELECT outcome FROM attempts")
        assert sorted(rows) == [("begun",), ("ok",)]
        ledger.closed(second, Attempt(0, "mid", "m", "openai", outcome="ok"))
        await asyncio.to_thread(ledger.close)
    rows = sqlite3.connect(tmp_path / "ledger.sqlite3").execute("SELECT outcome FROM attempts")
    assert sorted(rows) == [("ok",), ("ok",)], "closing the ledger writes what waits"


def test_a_request_in_work_is_in_the_ledger_of_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ended = subprocess.run(
        [sys.executable, "-c", CRASH, path], check=False, env={**os.environ, "PYTHONPATH": "."}
    )
    assert ended.returncode == -signal.SIGKILL
    rows = sqlite3.connect(path).execute("SELECT tenant, outcome, usd FROM attempts").fetchall()
    assert rows == [("acme", "begun", 0.5)]


async def test_an_answer_thrown_away_for_a_better_one_is_paid_for_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(path)
    meter = Meter(fleet_of(settings_with()), ledger)
    context = RequestContext(Deadline.after(5), key="k1")
    running = meter.open("mid", DECISION, 900, context)
    meter.close(running, "ok", Finished("stop", USAGE))
    meter.replaced(running)
    spent = ledger.spent("k1").key_usd
    ledger.close()
    written = sqlite3.connect(path).execute("SELECT outcome, usd, strongest_usd FROM attempts")
    rows = written.fetchall()
    assert rows == [("replaced", pytest.approx(spent), 0.0)]


async def test_a_ledger_that_hangs_delays_an_answer_by_a_second_at_most() -> None:
    meter = Meter(fleet_of(settings_with()))
    running = meter.open("mid", DECISION, 900, RequestContext(Deadline.after(5)))
    running.committed = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(2 * COMMIT_S):
        await meter.first(running)


def test_a_ledger_that_cannot_be_opened_says_which_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="TIFFIN_ROUTING__LEDGER"):
        Ledger(tmp_path / "file" / "ledger.sqlite3")


async def test_recorded_decisions_are_replayed_through_another_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite3"
    settings = settings_with()
    decider = decider_of(settings, with_model=False)
    ledger = Ledger(path)
    meter = Meter(decider.fleet, ledger)
    for query in ("When was it built?", "Prove that 3 * 4 = 12.", "Compare the two."):
        decision = decider.decide(RouteRequest(query, "auto", prompt_tokens=1000))
        meter.decided(RequestContext(Deadline.after(1)), Recorded(decision, "auto", [], 1000, 256))
    ledger.close()
    assert len(read_decisions(path)) == 3
    monkeypatch.setenv("TIFFIN_PROVIDERS", _json(settings))
    printed = CliRunner().invoke(
        main, ["router", "replay", "--policy", "auto-quality", "--ledger", str(path)]
    )
    assert printed.exit_code == 0, printed.output
    assert "small 33%" in printed.output
    assert "big 100%" in printed.output


def _json(settings: Settings) -> str:
    cards = settings.providers.items()
    return json.dumps({name: card.model_dump(exclude_none=True) for name, card in cards})
