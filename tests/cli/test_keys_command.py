"""`tiffin keys` as a user types it: a key is shown once, listed without its secret, and revoked."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tiffin.cli.keys import keys
from tiffin.traffic.key_file import KeyFile
from tiffin.traffic.keys import KeyRing


def tiffin(file: Path | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIFFIN_")}
    if file is not None:
        environment["TIFFIN_ACCESS__KEYS_FILE"] = str(file)
    command = [sys.executable, "-m", "tiffin.cli.main", "keys", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.slow
def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    file = tmp_path / "new" / "keys.json"
    made = tiffin(file, "create", "web", "--tenant", "acme", "--requests-per-minute", "60")
    key = made.stdout.strip()
    assert re.fullmatch(r"tiffin-[0-9a-f]{8}-[\w-]{43}", key), made.stderr
    ring = KeyRing(file)
    found = ring.find(key)
    assert found is not None
    assert (found.name, found.tenant, found.requests_per_minute) == ("web", "acme", 60)

    listed = tiffin(file, "list").stdout
    assert "web  tenant=acme" in listed
    assert key.split("-", 2)[2] not in listed

    assert tiffin(file, "revoke", "web").returncode == 0
    assert ring.find(key) is None
    assert tiffin(file, "list").stdout == ""


def test_limits_are_given_changed_lifted_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(keys, ["--file", str(path), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    limits = ["--expires", "2099-01-31", "--model", "auto", "--tier", "small", "--day-usd", "5"]
    first = run("create", "batch", "--tenant", "acme", *limits).strip()
    run("budget", "acme", "--month-usd", "200")
    listed = run("list")
    assert "expires=2099-01-31  models=auto  tiers=small  USD/day=5  USD/month=unlimited" in listed
    assert "tenant acme  USD/day=unlimited  USD/month=200" in listed

    assert "USD/day=0.00001 " in (run("budget", "tiny", "--day-usd", "0.00001") or run("list"))
    misspelt = CliRunner().invoke(keys, ["--file", str(path), "create", "b", "--tier", "smal"])
    assert "no tier 'smal' here; there are: small" in misspelt.stderr

    run("change", "batch", "--day-usd", "8", "--unlimited", "expires", "--unlimited", "models")
    second = run("rotate", "batch", "--overlap", "1h").strip()
    ring = KeyRing(path)
    assert ring.find(first) == ring.find(second) == KeyFile(path).read()[0]
    row, _ = json.loads(run("list", "--json"))
    found = {name: row[name] for name in ("expires", "models", "tiers", "day_usd")}
    assert found == {"expires": None, "models": None, "tiers": ["small"], "day_usd": 8}
    assert row["tenant_month_usd"] == 200
    assert not {"salt", "digest", "previous"} & set(row)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "web"), "already"),
        (("create", "two words"), "no name"),
        (("revoke", "nobody"), "there are: web"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    tiffin(tmp_path / "keys.json", "create", "web")
    result = tiffin(tmp_path / "keys.json", *arguments)
    assert result.returncode == 1
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_without_a_file_it_says_what_to_set() -> None:
    result = tiffin(None, "list")
    assert result.returncode == 1
    assert "TIFFIN_ACCESS__KEYS_FILE" in result.stderr
