"""A stack whose folder for temporary files is full answers, and says what it cannot do."""

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.disk import fill, small_disk
from tests.support.stack import running_stack

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

NEW_PATHS = ("/embed", "/v1/embeddings", "/v1/rerank", "/rerank", "/v1/models", "/tokenize")
"""Routes that nobody has called yet: each gets series of its own in the files of metrics."""

LONG = b"This finds no room. " * 100_000


def test_a_stack_goes_on_while_its_temporary_folder_is_full(tmp_path: Path) -> None:
    try:
        with small_disk() as disk, running_stack(tmp_path, TMPDIR=str(disk)) as stack:
            entry = stack.worker("RAG").pid
            with httpx.Client(base_url=stack.url, timeout=60) as client:
                filler = fill(disk)
                refused = upload(client)
                for number in range(40):
                    client.post(NEW_PATHS[number % len(NEW_PATHS)], json={"inputs": "a"})
                embedded = client.post("/embed", json={"inputs": "a"})
                metrics = client.get("/metrics")
                filler.unlink()
                stored = upload(client)
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                507,
                "insufficient_storage",
            )
            assert embedded.status_code == metrics.status_code == stored.status_code == 200
            assert "tiffin_requests_total" in metrics.text
            assert stack.worker("RAG").pid == entry, "no process has died"
    except subprocess.CalledProcessError as error:
        if error.cmd[0] != "mount":
            raise
        pytest.skip("this user may not mount a file system")


def upload(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/files", files={"file": ("a.txt", LONG)}, data={"purpose": "user_data"})
