"""An address that others can reach: the real server asks for keys, or does not start."""

import os
import subprocess
import sys
from pathlib import Path

import bentoml
import httpx
import psutil
import pytest

from tests.support.stack import ROOT, Stack, running_stack
from tiffin.traffic.key_file import KeyFile

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


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


def test_an_open_address_with_keys_serves_who_brings_one(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    key = file.create("app")
    environment = {
        "TIFFIN_ACCESS__KEYS_FILE": str(tmp_path / "keys.json"),
        "BENTOML_HOST": "0.0.0.0",  # noqa: S104
    }
    question = {"query": "Where?", "documents": ["Here."], "max_tokens": 1}
    with running_stack(tmp_path, **environment) as stack:
        for path in (
            "/metrics",
            "/schema.json",
            "/docs.json",
            "/v1/models",
            "/v1/playground",
            "/x",
        ):
            assert httpx.get(stack.url + path).status_code == 401, path
        assert httpx.post(f"{stack.url}/rag_query", json=question).status_code == 401
        for path in ("/", "/docs", "/openapi.json"):
            assert httpx.get(stack.url + path).status_code == 200, path
        headers = {"authorization": f"Bearer {key}"}
        for path in ("/", "/metrics", "/schema.json", "/docs", "/v1/models"):
            assert httpx.get(stack.url + path, headers=headers).status_code == 200, path
        with bentoml.SyncHTTPClient(stack.url, token=key, timeout=60) as client:
            assert client.rag_query(**question)["object"] == "rag.answer"
        file.revoke("app")
        assert httpx.get(f"{stack.url}/v1/models", headers=headers).status_code == 401
