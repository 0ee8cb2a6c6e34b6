"""The files of this machine that `tiffin ingest` sends: what their names and digests are."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click

LABEL_CHARS = 512
"""The longest value of an attribute."""


@dataclass(frozen=True)
class LocalFile:
    """A file. `label` is what the corpus knows it by: the folder's name and the path in it."""

    path: Path
    label: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its bytes, in hex."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def local_files(paths: Iterable[Path]) -> list[LocalFile]:
    """The files, and all files of the folders but hidden ones. Raises click.UsageError.

    No link is followed out of a folder, and two files may not have one label.
    """
    found: dict[str, LocalFile] = {}
    for path in paths:
        for file in _within(path):
            inner = file.relative_to(path).as_posix()
            label = path.name if file == path else f"{path.resolve().name}/{inner}"
            if len(label) > LABEL_CHARS:
                raise click.UsageError(f"{label[:60]}...: longer than {LABEL_CHARS} characters")
            if label in found and found[label].path.resolve() != file.resolve():
                message = f"{label}: {found[label].path} and {file} would have the same name"
                raise click.UsageError(f"{message}; ingest the folder above them")
            found[label] = LocalFile(file, label)
    return list(found.values())


def _within(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path]
    inside = (one for one in sorted(path.rglob("*")) if one.is_file() and not one.is_symlink())
    return [one for one in inside if not _hidden(one.relative_to(path)) and one.stat().st_size]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
