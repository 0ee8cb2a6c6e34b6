"""A Prometheus of the test's own, from the path: Debian's package `prometheus` has it."""

import json
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.stack import free_port, wait_until

JOB = "tiffin"
WAIT_S = 30.0


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes every second."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. Raises AssertionError for one that does not parse."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer.get("error"))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """All rules as they are evaluated."""
        groups = httpx.get(f"{self.url}/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def wait_for(self, expression: str) -> None:
        """Wait until a query has a series."""
        late = time.monotonic() + WAIT_S
        while not self.query(expression):
            assert time.monotonic() < late, f"nothing for {expression}"
            time.sleep(0.5)


def program() -> str | None:
    """Prometheus, if it is installed."""
    return shutil.which("prometheus")


@contextmanager
def running_prometheus(folder: Path, target: str, rules: Path) -> Generator[Prometheus, None, None]:
    """A server that scrapes the target, `host:port`, and evaluates the rules."""
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    scraped = {"job_name": JOB, "static_configs": [{"targets": [target]}]}
    settings = {"global": every, "scrape_configs": [scraped], "rule_files": [str(rules)]}
    (folder / "prometheus.yml").write_text(json.dumps(settings))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    words = [
        program() or "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            wait_until(f"http://{address}/-/ready", process)
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            process.wait(20)
