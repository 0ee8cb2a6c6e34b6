"""`tiffin plan` as a user types it: the table, the refusal, the exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LLAMA_8B = "params=8b,layers=32,kv_heads=8,head_dim=128,dtype=fp16"
LLAMA_70B = "params=70.6b,layers=80,kv_heads=8,head_dim=128,dtype=fp16"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("TIFFIN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def tiffin(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tiffin.cli.main", "plan", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_laptop_s_plan_is_its_memory() -> None:
    result = tiffin()
    assert result.returncode == 0, result.stderr
    assert "No GPU: CPU" in result.stdout
    assert "qwen2.5-coder" in result.stdout


def test_a_described_model_on_described_gpus_is_a_table_for_each() -> None:
    result = tiffin("--gpus", "1x24,4x80", "--model", LLAMA_70B)
    assert result.returncode == 0, result.stderr
    assert "GPU 0: 24 GB, 24.0 GB" in result.stdout
    assert result.stdout.count("cut over 4 like GPUs: too large for fewer") == 4


def test_json_gives_bytes() -> None:
    result = tiffin("--gpus", "1x80", "--model", LLAMA_8B, "--context", "4096", "--json")
    (gpu,) = json.loads(result.stdout)
    (placed,) = gpu["models"]
    assert placed["weights_bytes"] == 16_000_000_000
    assert placed["tensor_parallel"] == 1
    parts = sum(placed[f"{part}_bytes"] for part in ("weights", "kv_cache", "activations", "fixed"))
    assert gpu["left_bytes"] == 72_000_000_000 - parts


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--gpus", "2x80", "--model", LLAMA_70B), "What fits: weights in fp8; or 2 more GPUs"),
        (("--gpus", "nine", "--model", LLAMA_8B), "GPUs 'nine': expected COUNTxGB"),
        (("--gpus", "1x80", "--model", "params=8b"), "is missing"),
        (("--model", LLAMA_8B), "no GPU"),
        (("--profile", "desktop"), "'desktop' is not a profile"),
        (("--gpus", "1x80", "--catalog", "nowhere.yaml"), "nowhere.yaml: No such file"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_1(
    arguments: tuple[str, ...], complaint: str
) -> None:
    result = tiffin(*arguments)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def one_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A driver that shows one 24 GB card, and a folder for its MPS daemon."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "0, NVIDIA L4, 23034"\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_the_plan_of_a_shared_card_says_whether_mps_is_there(one_card: Path) -> None:
    assert "no daemon runs here" in tiffin("--profile", "gpu").stdout
    (one_card / "control").touch()
    assert "its daemon runs" in tiffin("--profile", "gpu").stdout
    assert "MPS:" not in tiffin("--profile", "gpu", "--gpus", "1x24").stdout
