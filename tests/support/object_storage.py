"""An S3-compatible server of the test's own: moto's, in an environment of its own."""

import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.support.stack import ROOT, free_port

PROGRAM = ROOT / ".venv-objects/bin/moto_server"
START_S = 30
BUCKET = "bucket"


@dataclass(frozen=True)
class ObjectStorage:
    """A server that runs."""

    url: str
    process: "subprocess.Popen[bytes]"

    @property
    def variables(self) -> dict[str, str]:
        """With which Tiffin and LanceDB reach it."""
        return {
            "AWS_ENDPOINT": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


@contextmanager
def object_storage() -> Generator[ObjectStorage, None, None]:
    """A server until the block ends. It has one bucket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [PROGRAM, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _make_bucket(url, time.monotonic() + START_S)
        yield ObjectStorage(url, process)
    finally:
        process.terminate()
        process.wait()


def _make_bucket(url: str, until: float) -> None:
    while True:
        try:
            httpx.put(f"{url}/{BUCKET}").raise_for_status()
        except httpx.TransportError:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.1)
        else:
            return
