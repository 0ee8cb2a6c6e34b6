"""`tiffin eval answers` against the real stack."""

import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from lab.retrieval.__main__ import write
from tests.support.stack import ROOT, Stack
from tiffin.cli.main import main

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EVERYDAY = ROOT / "lab/answers/everyday.jsonl"


def test_a_served_tiffin_is_measured(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(EVERYDAY.read_text(encoding="utf-8").splitlines()[:8]))
    command = ["eval", "answers", str(file), "--url", stack.url, "--model", "quote"]
    result = CliRunner().invoke(main, [*command, "--grounding", "mark", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)["quote, mark"]
    assert figures["right, of the answerable"]["value"] >= 0.75
    assert figures["answerable refused"]["value"] == 0
    result = CliRunner().invoke(main, [*command, "--calibrate", "0.05"])
    assert "--calibrate needs 40 questions" in result.output


def test_retrieval_is_measured_over_a_folder_in_beirs_layout(stack: Stack, tmp_path: Path) -> None:
    rows = [
        {"question": f"How tall is the {name}?", "knowledge": f"The {name} is {tall} m tall."}
        for name, tall in (("tower", 324), ("bridge", 67), ("lighthouse", 41))
    ]
    write(tmp_path, rows, passages=3, questions=3)
    result = CliRunner().invoke(main, ["eval", "retrieval", str(tmp_path), "--url", stack.url])
    assert result.exit_code == 0, result.output
    assert "3 questions, 3 passages" in result.stdout
    (best,) = [line for line in result.stdout.splitlines() if "recall@1 " in line]
    assert best.count("1.000 [1.000, 1.000]") == 4
    named = httpx.get(f"{stack.url}/v1/vector_stores").json()["data"]
    assert f"eval-{tmp_path.name}" not in [one["name"] for one in named]
