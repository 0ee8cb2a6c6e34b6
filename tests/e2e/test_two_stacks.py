"""Two starts on one machine: neither touches what the other counts."""

import subprocess
import tempfile
from pathlib import Path

import httpx
import pytest

from tests.support.stack import BENTOML, ROOT, TINY, Stack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

EMBEDDED = 'tiffin_requests_total{route="/embed",status="200"}'


def embedded(stack: Stack) -> float:
    """How many calls of `/embed` the stack says that it has answered."""
    lines = httpx.get(f"{stack.url}/metrics", timeout=20).text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(EMBEDDED)), 0.0)


def embed(stack: Stack, times: int) -> None:
    for _ in range(times):
        answer = httpx.post(f"{stack.url}/embed", json={"inputs": "a"}, timeout=60)
        assert answer.status_code == 200, answer.text


def folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("tiffin-metrics-*"))


def test_a_second_start_leaves_the_metrics_of_the_first_alone(tmp_path: Path) -> None:
    """One that finds its port taken, and one that serves; all of them share BENTOML_HOME."""
    home, second = {"BENTOML_HOME": str(tmp_path / "home")}, tmp_path / "second"
    second.mkdir()
    before = folders()
    with running_stack(tmp_path, **home) as first:
        embed(first, 3)
        port = first.url.rsplit(":", 1)[1]
        environment = first.supervisor.environ()
        taken = subprocess.run(
            [BENTOML, "serve", "--port", port],
            cwd=ROOT,
            env={**TINY, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert taken.returncode != 0, taken.stdout
        assert embedded(first) == 3
        with running_stack(second, **home) as other:
            embed(other, 2)
            embed(first, 1)
            assert (embedded(first), embedded(other)) == (4, 2)
        assert embedded(first) == 4
    assert folders() == before, "each start removes its own"
