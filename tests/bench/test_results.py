"""A benchmark's result finds its place in the page."""

import re
from pathlib import Path

from bench.__main__ import keep
from bench.machine import described


def test_a_result_replaces_the_one_before_it_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Page\n<!-- bench hop -->\nold\n<!-- end -->\nWhy.\n", encoding="utf-8")
    keep("hop", "new\n", results=tmp_path / "results", page=page)
    keep("start", "not on the page\n", results=tmp_path / "results", page=page)
    told = page.read_text(encoding="utf-8")
    assert told == "# Page\n<!-- bench hop -->\n\nnew\n\n<!-- end -->\nWhy.\n"
    assert (tmp_path / "results" / "start.md").read_text(encoding="utf-8") == "not on the page\n"


def test_the_machine_is_described_by_its_cores_and_python() -> None:
    assert re.match(r"\d{4}-\d\d-\d\d: \d+ cores of .+, Python 3\.\d+", described())
