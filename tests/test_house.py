"""What holds the repository together: docs that quote the code, pins, and no trace of a machine."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tiffin.cli.settings import variables_table
from tiffin.telemetry.described import metrics_table

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements() -> list[str]:
    """Every direct dependency as pyproject.toml has it."""
    project = PROJECT["project"]
    groups = [*project["optional-dependencies"].values(), *PROJECT["dependency-groups"].values()]
    return [*project["dependencies"], *(line for group in groups for line in group)]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def test_every_dependency_is_pinned_and_has_its_reason_in_the_docs() -> None:
    pattern = re.compile(r"^([A-Za-z0-9_-]+)(?:\[[\w,-]+\])?==\S+(?:\s*;.*)?$")
    pinned = {found[1] for line in requirements() if (found := pattern.match(line))}
    assert len(pinned) == len({line.split("==")[0] for line in requirements()})
    table = (ROOT / "docs/dependencies.md").read_text()
    assert set(re.findall(r"^\| ([\w-]+) \| \S", table, re.MULTILINE)) - {"package"} == pinned


def test_the_configuration_page_lists_every_variable_as_it_is() -> None:
    assert variables_table() in (ROOT / "docs/configuration.md").read_text()


def test_the_page_of_metrics_lists_every_metric_as_it_is() -> None:
    assert metrics_table() in (ROOT / "docs/metrics.md").read_text()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda p: p.name
)
def test_a_lock_has_a_hash_for_everything_and_names_no_index(path: Path) -> None:
    text = path.read_text()
    packages = re.split(r"\n(?=\S)", text.strip())
    if path.name in ("bento.txt", "bento-gpu.txt"):  # an image installs one file, torch included
        assert packages.pop().startswith("torch==")
    assert all("--hash=sha256:" in package for package in packages)
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links", text)
    assert not any(package.startswith("torch==") for package in packages)


def test_nothing_names_a_folder_of_somebody_s_machine() -> None:
    trace = re.compile(r"(?<!\w)(?<!\w\")/(?:home/(?!bentoml)|Users/|root/|work/)\w")
    named = {
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in tracked_files()
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".txt", ".sh", ""}
        if (found := trace.search(path.read_text(errors="ignore")))
    }
    assert named == set()


def test_every_link_between_the_docs_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_command_of_the_readme_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
