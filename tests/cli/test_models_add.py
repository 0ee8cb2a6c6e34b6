"""`tiffin models add` and `remove` as a user types them: files, folders, a hub's cache."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.catalog import load_catalog
from models.errors import WeightsError
from models.short_names import hub_name
from models.store import Store
from models.user_catalog import catalog_of
from tiffin.config.settings import load_settings

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 100,
    "max_position_embeddings": 40_960,
    "torch_dtype": "bfloat16",
}
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own, and the cache of a hub's client that has no network."""
    for name in os.environ:
        if name.startswith("TIFFIN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TIFFIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "home"


def tiffin(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tiffin.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def safetensors(file: Path, *shape: int) -> None:
    header = {"a": {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]}, "__metadata__": {}}
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text)


def repository(folder: Path, **config: Any) -> Path:
    """A model's files as a hub has them, without weights worth the name."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# It\n")
    safetensors(folder / "model-1.safetensors", 100, 16)
    safetensors(folder / "model-2.safetensors", 3)
    return folder


def cached(tmp_path: Path) -> None:
    """The same as the hub's client keeps it."""
    repo = tmp_path / "hub/models--Qwen--Qwen3-Tiny"
    repository(repo / "snapshots" / REVISION)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(REVISION)


@pytest.mark.models
def test_a_gguf_file_is_described_as_our_catalogue_describes_it(home: Path) -> None:
    known = load_catalog().get("smollm2-135m-instruct")
    (file,) = Store(load_settings(home=Path("~/.cache/tiffin")).home).path(known).glob("*.gguf")
    done = tiffin("models", "add", str(file), "--as", "mine")
    assert done.returncode == 0, done.stderr
    model = catalog_of(home).get("mine")
    same = ("task", "engine", "quantization", "parameters", "context_tokens", "architecture")
    assert [getattr(model, name) for name in same] == [getattr(known, name) for name in same]
    assert [file.sha256 for file in model.files] == [file.sha256 for file in known.files]
    assert abs(model.memory_bytes / known.memory_bytes - 1) < 0.2
    assert "it fits" in done.stdout
    assert "tiffin models pull mine" in done.stdout
    assert tiffin("models", "pull", "mine").returncode == 0
    assert (home / "models/mine").is_dir()
    assert tiffin("models", "remove", "mine").returncode == 0
    assert not (home / "models/mine").exists()
    assert "mine" not in [model.name for model in catalog_of(home).models]


def test_a_hub_s_repository_comes_from_the_client_s_cache_without_a_network(
    home: Path, tmp_path: Path
) -> None:
    cached(tmp_path)
    done = tiffin("models", "add", "Qwen/Qwen3-Tiny")
    assert done.returncode == 0, done.stderr
    model = catalog_of(home).get("qwen3-tiny")
    assert (model.task, model.engine, model.quantization) == ("chat", "vllm", "bfloat16")
    assert (model.licence, model.parameters, model.context_tokens) == ("apache-2.0", 1603, 40_960)
    assert model.architecture is not None
    assert (model.architecture.kv_heads, model.architecture.head_dim) == (2, 8)
    assert model.sources[0].revision == REVISION  # type: ignore[union-attr]
    assert {file.path for file in model.files} == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model-1.safetensors",
        "model-2.safetensors",
    }


@pytest.mark.slow
def test_a_folder_is_its_own_source(home: Path, tmp_path: Path) -> None:
    folder = repository(tmp_path / "My Model", quantization_config={"quant_method": "awq"})
    done = tiffin("models", "add", str(folder))
    assert done.returncode == 0, done.stderr
    assert catalog_of(home).get("my-model").quantization == "awq"
    assert tiffin("models", "pull", "my-model").returncode == 0
    shutil.rmtree(folder)
    assert tiffin("models", "verify", "my-model").returncode == 0


@pytest.mark.slow
@pytest.mark.models
def test_a_short_name_stands_for_a_repository_of_the_hub(home: Path, tmp_path: Path) -> None:
    known = load_catalog().get("qwen2.5-coder-0.5b-instruct")
    (file,) = Store(load_settings(home=Path("~/.cache/tiffin")).home).path(known).glob("*.gguf")
    repo = tmp_path / "hub/models--bartowski--Qwen2.5-Coder-0.5B-Instruct-GGUF"
    snapshot = repo / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (snapshot / "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf").symlink_to(file)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(REVISION)
    done = tiffin("models", "add", "qwen2.5-coder:0.5b")
    assert done.returncode == 0, done.stderr
    model = catalog_of(home).get("qwen2.5-coder-0.5b")
    assert model.files[0].sha256 == known.files[0].sha256
    assert model.sources[0].repo == "bartowski/Qwen2.5-Coder-0.5B-Instruct-GGUF"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("qwen3", "Qwen/Qwen3-8B-GGUF:Q4_K_M"),
        ("qwen3:30b-a3b", "Qwen/Qwen3-30B-A3B-GGUF:Q4_K_M"),
        (
            "llama3.1:8b-instruct-q4_K_M",
            "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M",
        ),
        ("gemma3:1b-it-q8_0", "bartowski/google_gemma-3-1b-it-GGUF:Q8_0"),
        ("deepseek-r1:latest", "bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q4_K_M"),
        ("all-minilm", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_a_short_name_says_size_and_quantization(short: str, long: str) -> None:
    assert hub_name(short) == long


@pytest.mark.parametrize("short", ["qwen3:9b", "qwen-3:8b", "Qwen3 8b"])
def test_an_unknown_short_name_is_answered_with_the_nearest(short: str) -> None:
    with pytest.raises(WeightsError, match=r"nearest are .*qwen3:8b"):
        hub_name(short)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("Qwen/Nowhere", "Qwen/Nowhere: "),
        ("nonsense", "neither a path nor ORG/NAME"),
        ("./missing.gguf", "does not exist"),
    ],
)
def test_what_is_not_there_says_so_in_a_line(what: str, says: str) -> None:
    done = tiffin("models", "add", what)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_no_engine_runs_is_refused(home: Path, tmp_path: Path) -> None:
    folder = repository(tmp_path / "t5", architectures=["T5ForConditionalGeneration"])
    done = tiffin("models", "add", str(folder))
    assert "no engine runs it for chat" in done.stderr
    assert "no model 'x' in your catalogue" in tiffin("models", "remove", "x").stderr
    ours = tiffin("models", "add", str(folder), "--as", "all-minilm-l6-v2")
    assert (done.returncode, ours.returncode) == (1, 1)
    assert not (home / "catalog.yaml").exists() or not catalog_of(home).models[7:]
