"""`tiffin keys` as a user types it: a key is shown once, listed without its secret, and revoked."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tiffin.traffic.keys import KeyRing


def tiffin(file: Path | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIFFIN_")}
    if file is not None:
        environment["TIFFIN_ACCESS__KEYS_FILE"] = str(file)
    command = [sys.executable, "-m", "tiffin.cli.main", "keys", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


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
