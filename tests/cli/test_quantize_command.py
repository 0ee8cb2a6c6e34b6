"""`tiffin models quantize`, with a stand-in for llm-compressor's environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.catalog import load_catalog
from models.errors import CatalogError
from models.user_catalog import add, catalog_of

pytestmark = pytest.mark.slow

MODEL = "smollm2-135m-instruct-bf16"


def tiffin(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tiffin.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that holds the model whose weights are laptop's, and a tool that is installed."""
    for name in os.environ:
        if name.startswith("TIFFIN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    home = tmp_path / "home"
    monkeypatch.setenv("TIFFIN_HOME", str(home))
    return home


def install_tool(home: Path, script: str) -> None:
    tool = home / "tools" / "llmcompressor-0.14.0.1"
    (tool / "bin").mkdir(parents=True)
    (tool / "installed").touch()
    python = tool / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)


def install_plain(home: Path) -> None:
    """A model of plain weights of the user's own, so that no download is needed."""
    folder = home / "mine"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "config.json").write_text("{}")
    entry = load_catalog().get(MODEL).model_dump(mode="json", exclude_none=True)
    entry |= {
        "name": "mine",
        "files": [{"path": "model.safetensors"}, {"path": "config.json"}],
        "sources": [{"kind": "local", "path": str(folder)}],
    }
    (home / "catalog.yaml").write_text(json.dumps({"models": [entry]}))
    assert tiffin("models", "pull", "mine").returncode == 0


WORKS = """
head -c 70 "$2/model.safetensors" > "$3/model.safetensors"
cp "$2/config.json" "$3/"
echo '{"before": 20.0, "after": 21.5, "tokens": 900}' > "$6"
"""


def test_the_result_is_in_the_catalogue_with_its_loss(home: Path) -> None:
    install_plain(home)
    install_tool(home, WORKS)
    result = tiffin("models", "quantize", "mine", "--method", "w4a16")
    assert result.returncode == 0, result.stderr
    made = catalog_of(home).get("mine-w4a16")
    assert made.scheme.engine_name == "compressed-tensors"
    assert "perplexity 21.50 for 20.00 on 900 tokens" in made.note
    assert made.weight_bytes == 70
    rows = json.loads(tiffin("models", "list", "--json").stdout)
    assert {row["name"]: row["present"] for row in rows}["mine-w4a16"]


def test_a_tool_that_fails_leaves_nothing_and_gives_its_last_line(home: Path) -> None:
    install_plain(home)
    install_tool(home, "echo 'ValueError: no group divides 577' >&2\nexit 1")
    result = tiffin("models", "quantize", "mine")
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last == "Error: quantizing mine failed: ValueError: no group divides 577"
    assert not list((home / "quantized").glob("*"))
    assert [model.name for model in catalog_of(home).models][-1] == "mine"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("smollm2-135m-instruct",), "is Q4_1 for llama.cpp: quantize plain vllm weights"),
        (("nothing",), "no model 'nothing' in the catalogue"),
        ((MODEL,), f"run `tiffin models pull {MODEL}`"),
    ],
)
def test_what_cannot_be_quantized_is_one_line(arguments: tuple[str, ...], complaint: str) -> None:
    result = tiffin("models", "quantize", *arguments)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_name_of_ours_in_the_user_s_catalogue_is_refused(home: Path) -> None:
    add(home, load_catalog().get(MODEL))
    with pytest.raises(CatalogError, match="Tiffin's own catalogue has that name"):
        catalog_of(home)
