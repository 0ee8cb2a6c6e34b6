"""GPUs as NVML and nvidia-smi show them, with fakes of both."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from models.errors import PlacementError
from models.placement.hardware import detect_gpus, free_bytes, mps_runs
from tests.support.nvml import FakeCard, FakeNVML, FakeSlice

H100 = FakeCard("NVIDIA H100 80GB HBM3", total=85_520_809_984, free=85_000_000_000)


@pytest.fixture
def no_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)


def install(monkeypatch: pytest.MonkeyPatch, nvml: object) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


def test_every_card_is_found_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeNVML([H100, H100]))
    first, second = detect_gpus({})
    assert (first.device, second.device) == ("0", "1")
    assert first.total_bytes == H100.total
    assert free_bytes(first) == H100.free


def test_mig_slices_stand_in_for_their_card(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        FakeSlice("MIG-1", "3g.40gb", 42_000_000_000),
        FakeSlice("MIG-2", "3g.40gb", 42_000_000_000),
    ]
    card = FakeCard(H100.name, H100.total, H100.free, slices=parts)
    install(monkeypatch, FakeNVML([card]))
    gpus = detect_gpus({})
    assert [(gpu.device, gpu.mig_slice) for gpu in gpus] == [
        ("MIG-1", "3g.40gb"),
        ("MIG-2", "3g.40gb"),
    ]
    assert free_bytes(gpus[1]) == 42_000_000_000


def test_cards_that_the_operator_hid_are_not_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeNVML([H100] * 4))
    assert [gpu.device for gpu in detect_gpus({"CUDA_VISIBLE_DEVICES": "3,1"})] == ["3", "1"]
    assert detect_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert detect_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_a_gpu_list_that_does_not_exist_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeNVML([H100]))
    with pytest.raises(PlacementError, match="names GPU 5, which does not exist; there are: 0"):
        detect_gpus({"CUDA_VISIBLE_DEVICES": "0,5"})


def test_a_driver_that_breaks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeNVML([H100], broken=True))
    with pytest.raises(PlacementError, match="driver does not answer: GPU is lost"):
        detect_gpus({})


def test_without_nvml_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "0, NVIDIA L4, 23034"\necho "1, NVIDIA L4, 23034"\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    install(monkeypatch, None)
    assert [(gpu.device, gpu.name) for gpu in detect_gpus({})] == [
        ("0", "NVIDIA L4"),
        ("1", "NVIDIA L4"),
    ]
    assert detect_gpus({})[0].total_bytes == 23034 << 20


def test_a_silent_nvidia_smi_means_no_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' >&2\nexit 9\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    install(monkeypatch, None)
    assert detect_gpus({}) == []


@pytest.mark.usefixtures("no_smi")
def test_a_machine_without_gpus_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    assert detect_gpus({}) == []
    install(monkeypatch, FakeNVML([], driver=False))
    assert detect_gpus({}) == []


def test_mps_is_offered_where_its_daemon_keeps_a_pipe(tmp_path: Path) -> None:
    host = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    assert not mps_runs(host)
    os.mkfifo(tmp_path / "control")
    assert mps_runs(host)
