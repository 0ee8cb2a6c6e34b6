"""A full disk ends a build and a start with one line that says what to do."""

import errno
import shutil
import tempfile
from pathlib import Path

import pytest

from models.catalog import load_catalog
from services.bento import metrics_folder, models


def test_a_build_without_room_for_the_weights_says_how_much_it_needs_and_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", no_room)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit, match=rf"92 MB of all-minilm.*{tmp_path} \(TMPDIR\)"):
        models.put(load_catalog().get("all-minilm-l6-v2"), tmp_path)
    assert not list(tmp_path.iterdir()), "what was copied is gone again"


def test_a_start_without_a_folder_for_temporary_files_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "full")])
    with pytest.raises(SystemExit, match=r"No usable temporary directory.*TMPDIR"):
        metrics_folder.install()
