"""Engines come up one after the other, and take what is really free."""

import logging
import multiprocessing
import time
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from models.errors import PlacementError
from models.placement import launch
from models.placement.arithmetic import CUDA_CONTEXT_BYTES, kv_cache_bytes
from models.placement.described import parse_model
from models.placement.hardware import Gpu, parse_gpus
from models.placement.planner import Placement, make_plan

LLAMA_8B = "params=8.03b,layers=32,kv_heads=8,head_dim=128,hidden=4096,intermediate=14336,heads=32"


@pytest.fixture
def placed() -> Placement:
    work = parse_model(LLAMA_8B, number=1, context_tokens=4096, parallel=4)
    return make_plan([work], parse_gpus("1x40")).placements[0]


def hold(home: Path, devices: list[str], marks: "Queue[tuple[float, float]]") -> None:
    """A process whose engine takes a third of a second to load."""
    with launch.turn(home, devices):
        began = time.monotonic()
        time.sleep(0.3)
        marks.put((began, time.monotonic()))


def spans(home: Path, *devices: list[str]) -> list[tuple[float, float]]:
    context = multiprocessing.get_context("spawn")
    marks: Queue[tuple[float, float]] = context.Queue()
    processes = [context.Process(target=hold, args=(home, each, marks)) for each in devices]
    for process in processes:
        process.start()
    found = sorted(marks.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(10)
    return found


@pytest.mark.slow
def test_engines_on_one_gpu_load_one_after_the_other(tmp_path: Path) -> None:
    first, second, third = spans(tmp_path, ["0"], ["0", "1"], ["1", "0"])
    assert first[1] <= second[0]
    assert second[1] <= third[0]


def test_a_killed_engine_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    marks: Queue[tuple[float, float]] = context.Queue()
    process = context.Process(target=hold, args=(tmp_path, ["0"], marks))
    process.start()
    while not list(tmp_path.glob("locks/*")):
        time.sleep(0.01)
    process.kill()
    process.join(10)
    launch.turn(tmp_path, ["0"], limit_s=1).close()


def test_a_turn_that_never_comes_is_one_line(tmp_path: Path) -> None:
    with (
        launch.turn(tmp_path, []),
        pytest.raises(PlacementError, match="another engine has been starting on device cpu"),
    ):
        launch.turn(tmp_path, [], limit_s=0.05)


def test_an_empty_gpu_gives_what_was_planned(placed: Placement) -> None:
    budget = launch.budget(placed, lambda gpu: gpu.total_bytes)
    assert budget.kv_cache_bytes == placed.need.kv_cache
    assert budget.claim_bytes == placed.need.total - placed.need.fixed


def test_less_free_memory_shrinks_the_cache_and_nothing_else(
    placed: Placement, caplog: pytest.LogCaptureFixture
) -> None:
    free = placed.need.total - placed.need.kv_cache // 2
    budget = launch.budget(placed, lambda _: free)
    assert budget.kv_cache_bytes == pytest.approx(placed.need.kv_cache / 2, abs=1)
    assert budget.claim_bytes < free - CUDA_CONTEXT_BYTES, "vLLM would find less than it claims"
    assert "the KV cache shrinks to" in caplog.text


def test_too_little_for_one_request_is_refused_with_numbers(placed: Placement) -> None:
    work = placed.work
    one = kv_cache_bytes(work.architecture, work.context_tokens, work.number_bytes)
    least = placed.need.total - placed.need.kv_cache + one
    assert launch.budget(placed, lambda _: least).kv_cache_bytes == one
    with pytest.raises(PlacementError, match=r"for one request of 4096 tokens, and .* are free"):
        launch.budget(placed, lambda _: least - 1)


def test_without_a_measure_the_plan_stands(placed: Placement) -> None:
    assert launch.budget(placed, lambda _: None).kv_cache_bytes == placed.need.kv_cache


@pytest.mark.parametrize(("factor", "level"), [(1.05, logging.INFO), (1.2, logging.WARNING)])
def test_what_an_engine_took_is_held_against_its_plan(
    placed: Placement, caplog: pytest.LogCaptureFixture, factor: float, level: int
) -> None:
    caplog.set_level(logging.INFO)
    before = 40_000_000_000
    launch.compare(placed, before, lambda _: before - round(placed.need.total * factor))
    (record,) = caplog.records
    assert record.levelno == level
    assert "planned were" in record.getMessage()


def test_a_process_sees_its_gpus_and_its_share(placed: Placement) -> None:
    alone = launch.environment(placed, shared=False)
    assert alone == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}
    shared = launch.environment(placed, shared=True)
    assert shared["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == str(round(placed.share * 100))


def test_a_mig_slice_is_named_by_its_uuid_and_needs_no_mps() -> None:
    work = parse_model(LLAMA_8B, number=1, context_tokens=4096, parallel=4)
    part = Gpu(0, "H100", 42_000_000_000, "MIG-1", "3g.40gb")
    placed = make_plan([work], [part]).placements[0]
    variables = launch.environment(placed, shared=True)
    assert variables["CUDA_VISIBLE_DEVICES"] == "MIG-1"
    assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in variables
