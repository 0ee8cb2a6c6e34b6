"""The file that `tiffin backup` writes and `tiffin restore` reads: a tar with a list at its end.

corpora/...       records, the bytes of files, tables of chunks    tiffin/corpus/copying.py
ledger.sqlite3    what answers cost
keys.json         API keys: salted digests, no secrets
catalog.yaml      the user's own models
manifest.json     which Tiffin wrote it, and the SHA-256 of everything above
"""

import hashlib
import io
import os
import tarfile
import time
from pathlib import Path

import click
import msgspec

from tiffin import __version__
from tiffin.core.errors import from_full_disk

FORMAT = 1
"""Incremented when an older Tiffin would misread what a newer one writes."""

MANIFEST = "manifest.json"


class Manifest(msgspec.Struct, frozen=True):
    """`sums` are the SHA-256 of the files, by their name in the archive."""

    format: int
    version: str
    created: int
    sums: dict[str, str]


def write(folder: Path, target: Path) -> Manifest:
    """Put everything in the folder into a new archive, which only its owner may read.

    It is written beside the target and takes its place when it is whole. Raises ClickException.
    """
    part = target.with_name(f"{target.name}.part")
    sums: dict[str, str] = {}
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    name = path.relative_to(folder).as_posix()
                    sums[name] = _sum(path)
                    tar.add(path, name)
                manifest = Manifest(FORMAT, __version__, int(time.time()), sums)
                _add(tar, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        remedy = (
            "free space, or name another file" if from_full_disk(error) else "name another file"
        )
        message = f"{target} is not written: {error.strerror or error}; {remedy}"
        raise click.ClickException(message) from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def unpack(source: Path, folder: Path) -> Manifest:
    """Unpack an archive into an empty folder and check all of it. Raises ClickException."""
    try:
        with tarfile.open(source) as tar:
            tar.extractall(folder, filter="data")
        listed = folder / MANIFEST
        manifest = msgspec.json.decode(listed.read_bytes(), type=Manifest)
    except (tarfile.TarError, EOFError, FileNotFoundError, msgspec.MsgspecError) as error:
        if not source.exists():
            raise
        why = str(error).partition(":\n")[0]  # tarfile adds a line for each compression it tried
        message = f"{source} is no backup, or is cut off: {why}; use another one"
        raise click.ClickException(message) from None
    listed.unlink()
    if manifest.format > FORMAT:
        message = f"{source} was written by Tiffin {manifest.version}, newer than {__version__}"
        raise click.ClickException(f"{message}: install that version")
    for name, expected in manifest.sums.items():
        path = folder / name
        if not path.is_file() or _sum(path) != expected:
            message = f"{source} is damaged: {name} is not what was written; use another one"
            raise click.ClickException(message)
    return manifest


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(content), int(time.time())
    tar.addfile(info, io.BytesIO(content))
