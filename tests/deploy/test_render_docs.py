"""The example of docs/deploy/kubernetes.md is what its command renders."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.support.rendering import manifests
from tiffin.cli.main import main

PAGE = Path(__file__).parents[2] / "docs/deploy/kubernetes.md"


def test_the_example_of_the_page_is_what_its_command_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = PAGE.read_text().split("### An example", 1)[1]
    script, rules = re.findall(r"```(?:sh|yaml)\n(.*?)```", example, re.DOTALL)[:2]
    lines = script.replace("\\\n", " ").replace("REGISTRY", "registry.example").splitlines()
    exported, command = map(shlex.split, lines[:2])
    for word in exported[1:]:
        variable, _, value = word.partition("=")
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command[1:])
    assert result.exit_code == 0, result.output
    (policy,) = [m for m in manifests(tmp_path / "build/k8s", "NetworkPolicy")
                 if m["metadata"]["name"] == "tiffin-rag"]  # fmt: skip
    assert policy["spec"]["egress"][2:] == yaml.safe_load(rules)
    assert (tmp_path / "build/chart/Chart.yaml").exists()
