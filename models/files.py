"""The size and digest of a file, and whether they are right. Used across `models`."""

import hashlib
from pathlib import Path

import msgspec

from models.catalog import WeightFile
from models.errors import WeightsError


class DiskFull(WeightsError):
    """The disk is too small for the weights, so trying another source is pointless."""


class Seen(msgspec.Struct, frozen=True):
    """One file as it was when its digest was checked."""

    size_bytes: int
    mtime_ns: int
    sha256: str


def sha256_of(path: Path) -> str:
    """The digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(folder: Path, file: WeightFile, sha256: str | None) -> Seen:
    """Return what `file` in `folder` is. Raises WeightsError if it is not what was expected."""
    path = folder / file.path
    if not path.is_file():
        raise WeightsError(f"{file.path} is missing")
    stat = path.stat()  # before the digest, so that a change while it is read is seen later
    if file.size_bytes is not None and stat.st_size != file.size_bytes:
        raise WeightsError(f"{file.path} is {stat.st_size} bytes, expected {file.size_bytes}")
    digest = sha256_of(path)
    if sha256 is not None and digest != sha256:
        raise WeightsError(f"{file.path} has sha256 {digest}, expected {sha256}")
    return Seen(stat.st_size, stat.st_mtime_ns, digest)
