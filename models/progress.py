"""Progress reports of a pull. The CLI makes the receiver; everything that moves bytes calls it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

INTERVAL_S = 0.1


class Progress(Protocol):
    """Receives the state of the current step, several times a second and from any thread."""

    def __call__(self, step: str, done_bytes: int, total_bytes: int) -> None:
        """Report that `done_bytes` of the `total_bytes` of `step` are done."""


def silent(step: str, done_bytes: int, total_bytes: int) -> None:
    """Report to no one."""


def after(progress: Progress, earlier_bytes: int, all_bytes: int) -> Progress:
    """Report a part in terms of the whole: `earlier_bytes` of `all_bytes` came before it."""

    def report(step: str, done_bytes: int, total_bytes: int) -> None:
        progress(step, earlier_bytes + min(done_bytes, total_bytes), all_bytes)

    return report


@contextmanager
def watched(folder: Path, step: str, total_bytes: int, progress: Progress) -> Iterator[None]:
    """Report how much `folder` grows while the body runs, no matter who writes into it."""
    report = partial(progress, step, total_bytes=total_bytes)
    start_bytes = _size(folder)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(INTERVAL_S):
            report(done_bytes=min(max(_size(folder) - start_bytes, 0), total_bytes))

    report(done_bytes=0)
    thread = threading.Thread(target=watch, name=f"watch {folder.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    report(done_bytes=total_bytes)


def _size(folder: Path) -> int:
    """Add up the files while someone else writes, renames and removes them."""
    total = 0
    for parent, _, names in os.walk(folder):  # skips folders that vanish
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).stat().st_size
    return total
