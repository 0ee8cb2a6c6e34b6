"""Files of metrics that do not end a process when the disk is full.

The processes of a start share their metrics through files that they map into memory. The Prometheus
client leaves holes in these, and the system ends a process that writes into a hole when there is no
room (SIGBUS). Here the bytes are written before they are mapped, so that a full disk is an error:
then the process counts in its own memory, and `/metrics` does not show what it counts from then on.

`tiffin.telemetry.metrics` installs it before it makes the first metric.
"""

import logging
import mmap
from pathlib import Path
from typing import Any

from prometheus_client import mmap_dict, values

logger = logging.getLogger(__name__)

FIRST_BYTES = 1 << 16
HEAD_BYTES, ENTRY_BYTES = 8, 40
"""The head of a file, and what an entry takes at most beside its key."""


def install() -> None:
    """The client looks the class up by its name when a process makes its first metric."""
    setattr(values, "MmapedDict", WrittenDict)  # noqa: B010  mypy takes it for a name of ours


class WrittenDict(mmap_dict.MmapedDict):
    """The client's dictionary of one file, without holes."""

    _f: Any
    _m: mmap.mmap

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002
        path = Path(filename)
        try:
            if not read_mode and not (path.exists() and path.stat().st_size):
                _append(path, FIRST_BYTES)
        except OSError as error:
            path.unlink(missing_ok=True)  # the client cannot read an empty one
            self._fname, self._f, self._positions = filename, None, {}
            self._used, self._capacity = HEAD_BYTES, 0
            self._move(FIRST_BYTES, error)
        else:
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        needed = self._used + len(key.encode()) + ENTRY_BYTES
        if needed > self._capacity:
            self._grow(max(2 * self._capacity, needed))
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, size: int) -> None:
        if self._f is None:
            self._move(size)
            return
        try:
            _append(Path(self._fname), size - self._capacity)
        except OSError as error:
            self._move(size, error)
        else:
            self._m, self._capacity = mmap.mmap(self._f.fileno(), size), size

    def _move(self, size: int, error: OSError | None = None) -> None:
        """Go on in memory of this process; what the file has stays there."""
        held = self._m[: self._used] if self._capacity else b""
        self._m, self._capacity = mmap.mmap(-1, size), size
        self._m[: len(held)] = held
        if self._f is not None:
            self._f.close()
            self._f = None
        if error is not None:
            logger.error("%s: %s; /metrics lacks what this process counts now", self._fname, error)


def _append(path: Path, count: int) -> None:
    """Make a file longer by zeros that have their place on the disk. Raises OSError."""
    with path.open("ab") as file:
        file.write(bytes(count))
