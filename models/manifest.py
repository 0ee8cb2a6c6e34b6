"""The manifest in the folder of an installed model: its files at their last full check.

It lets a start trust the files by `stat` alone. `models.store` writes and reads it.
"""

import errno
import logging
import os
from pathlib import Path

import msgspec

from models.catalog import Model
from models.files import Seen, check

FILE = ".tiffin.json"

logger = logging.getLogger(__name__)


def is_fresh(folder: Path, model: Model) -> bool:
    """Whether every file has the size and time that it had at the last full check."""
    recorded = _read(folder)
    for file in model.files:
        seen = recorded.get(file.path)
        if seen is None or (file.sha256 or seen.sha256) != seen.sha256:
            return False
        try:
            stat = (folder / file.path).stat()
        except FileNotFoundError:
            return False
        if (stat.st_size, stat.st_mtime_ns) != (seen.size_bytes, seen.mtime_ns):
            return False
    return True


def check_and_record(folder: Path, model: Model) -> None:
    """Check every digest (WeightsError at the first wrong one), then record the files.

    A file without a digest in the catalogue must have the one recorded before.
    """
    recorded, seen = _read(folder), {}
    for file in model.files:
        before = recorded.get(file.path)
        expected = file.sha256 or (before.sha256 if before else None)
        seen[file.path] = check(folder, file, expected)
    _write(folder, seen)


def _read(folder: Path) -> dict[str, Seen]:
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=dict[str, Seen])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}  # the files are then checked in full


def _write(folder: Path, seen: dict[str, Seen]) -> None:
    part = folder / f"{FILE}.{os.getpid()}"
    try:
        part.write_bytes(msgspec.json.encode(seen))
        part.replace(folder / FILE)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        logger.info("%s cannot be written: its files are checked in full every time", folder)
