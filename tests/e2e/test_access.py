"""An address that others can reach: the real server asks for keys, or does not start."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.stack import ROOT, Stack

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_an_open_address_without_keys_ends_the_start(tmp_path: Path, how: str) -> None:
    command = [str(Path(sys.executable).with_name("bentoml")), "serve"]
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path)}
    if how == "flag":
        command += ["--host", "0.0.0.0"]  # noqa: S104
    else:
        environment["BENTOML_HOST"] = "::"
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "TIFFIN_ACCESS__KEYS_FILE" in last
    assert "TIFFIN_ACCESS__WITHOUT_KEYS" in last


def test_nothing_said_binds_to_loopback(stack: Stack) -> None:
    worker: psutil.Process = stack.worker("RAG")
    listening = {
        entry.laddr.ip
        for entry in worker.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
