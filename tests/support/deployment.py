"""A local deployment as a user runs it: `tiffin deploy up --local` and its sister commands."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.stack import free_port, stop, wait_until
from tiffin.config.settings import load_settings
from tiffin.deploy.state import ReplicaStatus, StateFolder, Status

TIFFIN = Path(sys.executable).with_name("tiffin")
TOKEN = "a-token-for-this-test-only"  # noqa: S105


@dataclass(frozen=True)
class Deployment:
    """A running local deployment; `url` is its entry service."""

    url: str
    home: Path
    environment: dict[str, str]

    def status(self) -> Status:
        return StateFolder(self.home / "deployments/local").read_status()

    def replicas(self, service: str) -> list[ReplicaStatus]:
        return self.status().services[service]

    def run(self, *arguments: str) -> str:
        """Run a `tiffin deploy` command to its end."""
        done = subprocess.run(
            [TIFFIN, "deploy", *arguments],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def running_deployment(folder: Path, **variables: str) -> Generator[Deployment, None, None]:
    """Start one, wait until it answers, and stop it whatever happens."""
    if shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    home = folder / "home"
    home.mkdir()
    (home / "models").symlink_to(load_settings().home / "models")
    environment = {
        **os.environ,
        "TIFFIN_HOME": str(home),
        "TIFFIN_INTERNAL__TOKEN": TOKEN,
        "BENTOML_HOME": str(folder / "bentoml"),
        **variables,
    }
    port = free_port()
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [TIFFIN, "deploy", "up", "--local", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(f"{url}/readyz", process)
        yield Deployment(url, home, environment)
    finally:
        stop(process)
