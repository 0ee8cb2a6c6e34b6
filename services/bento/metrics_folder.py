"""Gives each start a folder of its own for the metrics that its processes share.

Why: BentoML keeps them in one folder of `BENTOML_HOME` and clears it at each start, so that a
second start on the machine, even one that ends because its port is taken, empties `/metrics` of the
first for good. Nor does BentoML forget the gauges of a process that died: what it had in work stays
in the sum.

Upstream: not reported. Setting `PROMETHEUS_MULTIPROC_DIR` does not help, because `bentoml serve`
overwrites it for its workers.
"""

import secrets
import shutil
import tempfile
from pathlib import Path

from bentoml._internal.configuration.containers import BentoMLContainer
from circus.watcher import Watcher
from prometheus_client.multiprocess import mark_process_dead

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def install() -> None:
    """Name the folder; `bentoml serve` makes it and tells its workers.

    The first to ask where temporary files go: if nowhere, the start ends with one line.
    """
    name = f"tiffin-metrics-{secrets.token_hex(8)}"
    try:
        folder = Path(tempfile.gettempdir(), name)
    except FileNotFoundError as error:
        message = f"tiffin: {error.strerror}; make room, or name a folder by TMPDIR"
        raise SystemExit(message) from None
    BentoMLContainer.prometheus_multiproc_dir.set(str(folder))


def forget(watcher: Watcher, pid: int) -> None:
    """Leave the gauges of a process that is gone out; what it counted still counts."""
    if folder := _folder(watcher):
        mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]


def remove(watchers: list[Watcher]) -> None:
    """Remove the folder: the start has ended."""
    for folder in {_folder(watcher) for watcher in watchers} - {None}:
        shutil.rmtree(str(folder), ignore_errors=True)


def _folder(watcher: Watcher) -> str | None:
    folder: str | None = (watcher.env or {}).get(VARIABLE)
    return folder
