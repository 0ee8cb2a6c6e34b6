"""The harness itself: one test that fails does not keep the others from running or being seen."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import running
from tests.chaos.report import Report
from tests.chaos.row import Row
from tests.chaos.size import LONG, SHORT

RIGHT = Row("right", "always", "so")


async def right(*_: object) -> AsyncGenerator[Row, None]:
    yield RIGHT


async def fails(*_: object) -> AsyncGenerator[Row, None]:
    yield Row("its first half", "always", "so")
    raise ConnectionError("the server | is gone")


async def hangs(*_: object) -> AsyncGenerator[Row, None]:
    yield Row("before it hangs", "always", "so")
    await asyncio.Event().wait()


class Stands:
    """Counts those that were started and stopped."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.started = self.stopped = 0

    @asynccontextmanager
    async def start(self, _: Path) -> AsyncGenerator[Any, None]:
        if self.broken:
            raise AssertionError("it was not ready")
        self.started += 1
        try:
            yield self
        finally:
            self.stopped += 1


async def run(stands: Stands, names: Sequence[str], report: Report, folder: Path) -> None:
    tests: running.Tests[Any] = {"right": right, "fails": fails, "hangs": hangs, "last": right}
    await running._on_stands(stands.start, tests, names, SHORT, folder, report)  # noqa: SLF001


@pytest.fixture
def report(tmp_path: Path) -> Report:
    report = Report(tmp_path / "report.md")
    report.open("python -m tests.chaos", append=False)
    return report


def listed(report: Report) -> list[str]:
    assert report.path is not None
    text = report.path.read_text()
    table = text[text.index("| --- |") :].splitlines()[1:]
    return [line.split(" | ")[0].removeprefix("| ") for line in table if line.startswith("|")]


async def test_a_failure_is_a_row_and_the_next_test_gets_a_new_stand(
    report: Report, tmp_path: Path
) -> None:
    stands = Stands()
    await run(stands, ["right", "fails", "last"], report, tmp_path)
    assert listed(report) == ["right", "its first half", "fails", "right"]
    assert report.rows[2].seen == "it failed: ConnectionError: the server / is gone"
    assert report.rows[2].wrong()
    assert (stands.started, stands.stopped) == (2, 2)


async def test_a_stand_that_does_not_start_fails_each_test_by_name(
    report: Report, tmp_path: Path
) -> None:
    await run(Stands(broken=True), ["right", "last"], report, tmp_path)
    assert listed(report) == ["right", "last"]
    assert all("it was not ready" in row.seen for row in report.rows)


async def test_an_interruption_stops_the_stand_and_leaves_what_was_seen(
    report: Report, tmp_path: Path
) -> None:
    stands = Stands()
    task = asyncio.create_task(run(stands, ["right", "hangs", "last"], report, tmp_path))
    async with asyncio.timeout(2):
        while len(report.rows) < 2:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    report.close(finished=False)
    assert stands.stopped == 1
    assert listed(report) == ["right", "before it hangs"]
    assert report.path is not None
    assert "Interrupted" in report.path.read_text()


async def test_a_test_that_hangs_ends_at_its_limit(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LIMIT_S", 0.1 - SHORT.soak_s)
    await run(Stands(), ["hangs", "last"], report, tmp_path)
    assert listed(report) == ["before it hangs", "hangs", "right"]


async def test_the_report_keeps_what_was_there_when_told_to(report: Report) -> None:
    report.add(RIGHT)
    later = Report(report.path)
    later.open("python -m tests.chaos right", append=True)
    later.add(RIGHT)
    assert report.path is not None
    text = report.path.read_text()
    assert text.count("| right | always | so | yes |") == 2
    assert "## python -m tests.chaos right\n" in text


def test_the_long_run_is_as_long_as_the_figures_ask() -> None:
    assert (LONG.disconnects, LONG.slow_clients, LONG.terms) == (1000, 200, 20)
    assert LONG.soak_s >= 20 * 60
    assert LONG.kill_rounds >= 30
    assert LONG.interleavings >= 10_000
