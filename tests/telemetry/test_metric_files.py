"""Files of metrics when the disk is full: the process counts on, and what it has shown stays."""

import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from tiffin.telemetry import metric_files
from tiffin.telemetry.metric_files import FIRST_BYTES, WrittenDict


@contextmanager
def no_room_beyond(size: int) -> Generator[None, None, None]:
    """No file of this process may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def shown(path: Path) -> dict[str, float]:
    """What `/metrics` reads of the file."""
    return {key: value for key, value, *_ in MmapedDict.read_all_values_from_file(path)}  # type: ignore[no-untyped-call]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(
        metric_files.logger, "error", lambda *words: said.append(words[0] % words[1:])
    )
    return said


def test_a_file_has_its_place_on_the_disk_before_it_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    counts = WrittenDict(str(path))
    for number in range(3000):
        counts.write_value(f"key-{number}", float(number), 0.0)  # type: ignore[no-untyped-call]
        assert path.stat().st_blocks * 512 >= path.stat().st_size
    counts.close()  # type: ignore[no-untyped-call]
    assert shown(path) == {f"key-{number}": float(number) for number in range(3000)}


def test_a_file_that_cannot_grow_keeps_what_it_has_and_the_process_counts_on(
    tmp_path: Path, said: list[str]
) -> None:
    path = tmp_path / "counter_1.db"
    counts = WrittenDict(str(path))
    counts.write_value("early", 5.0, 0.0)  # type: ignore[no-untyped-call]
    with no_room_beyond(FIRST_BYTES):
        for number in range(9000):
            counts.write_value(f"key-{number}", float(number), 0.0)  # type: ignore[no-untyped-call]
    assert counts.read_value("early") == (5.0, 0.0)  # type: ignore[no-untyped-call]
    assert counts.read_value("key-8999") == (8999.0, 0.0)  # type: ignore[no-untyped-call]
    assert shown(path)["early"] == 5.0
    (line,) = said
    assert "/metrics lacks" in line


def test_a_process_that_starts_on_a_full_disk_counts_without_a_file(
    tmp_path: Path, said: list[str]
) -> None:
    path = tmp_path / "counter_1.db"
    with no_room_beyond(100):
        counts = WrittenDict(str(path))
    counts.write_value("key", 5.0, 0.0)  # type: ignore[no-untyped-call]
    assert counts.read_value("key") == (5.0, 0.0)  # type: ignore[no-untyped-call]
    assert not path.exists(), "an empty one would break /metrics for all"
    assert len(said) == 1
