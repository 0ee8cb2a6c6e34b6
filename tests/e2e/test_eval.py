"""`tiffin eval answers` against the real stack."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

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
