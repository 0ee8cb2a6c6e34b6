"""`bench/gpu.sh` where there is no GPU, and how it reads what the engines say of their memory."""

import logging
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.gpu_checks import memory
from models.placement import launch
from models.placement.described import parse_model
from models.placement.hardware import GB, parse_gpus
from models.placement.planner import make_plan
from tests.support.quantized import Method, quantize
from tests.support.stack import ROOT

QWEN_1B5 = "params=1.54b,layers=28,kv_heads=2,head_dim=128"


@pytest.mark.parametrize("driver", [None, "echo 'NVIDIA-SMI has failed' >&2; exit 9"])
def test_without_a_gpu_it_says_so_and_exits_with_3(tmp_path: Path, driver: str | None) -> None:
    if driver:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{driver}\n")
        program.chmod(0o755)
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(
            next(p for p in map(Path, ("/bin", "/usr/bin")) if (p / name).exists()) / name
        )
    result = subprocess.run(
        ["/bin/bash", str(ROOT / "bench/gpu.sh")],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 3
    assert result.stderr.startswith("bench/gpu.sh: there is no GPU here: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("factor", "under_load", "good"),
    [
        (1.08, 1.0, True),
        (0.8, 0.95, True),
        (0.8, 0.85, False),
        (1.0, 1.2, False),
        (1.15, 1.0, False),
    ],
)
def test_the_table_of_memory_is_read_from_the_services_log(
    caplog: pytest.LogCaptureFixture, factor: float, under_load: float, good: bool
) -> None:
    caplog.set_level(logging.INFO)
    work = parse_model(QWEN_1B5, number=1, context_tokens=4096, parallel=4)
    placed = make_plan([work], parse_gpus("1x24")).placements[0]
    before = 24_000_000_000
    launch.compare(placed, before, lambda _: before - round(placed.need.total * factor))
    table, reached = memory(caplog.text, under_load * placed.need.total / GB)
    assert reached is good
    assert ("| -19.9% |" in str(table)) is (factor < 1)
    assert "Model1" in str(table)


def test_a_log_without_measures_reaches_nothing() -> None:
    _, reached = memory("nothing of the kind", 0.0)
    assert not reached


@pytest.mark.parametrize("method", ["fp8", "compressed-tensors"])
def test_an_fp8_checkpoint_holds_the_weights_within_its_steps(
    tmp_path: Path, method: Method
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    weight = torch.randn(32, 16)
    save_file({"layer.q_proj.weight": weight, "norm": torch.ones(4)}, source / "model.safetensors")
    (source / "config.json").write_text("{}")
    rounded = load_file(quantize(source, tmp_path / method, method) / "model.safetensors")
    again = rounded["layer.q_proj.weight"].float() * rounded["layer.q_proj.weight_scale"]
    torch.testing.assert_close(again, weight, rtol=1 / 16, atol=1e-3)
    assert rounded["norm"].tolist() == [1.0] * 4
