"""A small file system of a test's own, which it may fill up."""

import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(mib: int = 64) -> Generator[Path, None, None]:
    """A file system of its own in memory. Raises CalledProcessError if this user may not mount."""
    with tempfile.TemporaryDirectory(prefix="tiffin-disk-") as name:
        options = ["-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", name]
        subprocess.run(["mount", *options], check=True, capture_output=True)  # noqa: S607
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)  # noqa: S607


def fill(disk: Path) -> Path:
    """Leave no byte; the file that takes them."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return filler
