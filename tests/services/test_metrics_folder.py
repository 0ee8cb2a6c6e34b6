"""The folder in which the processes of one start count: whose is in it, and who is forgotten."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from services.bento import metrics_folder

WORKER = """
import os
from tiffin.telemetry import metrics
metrics.series(metrics.in_work, "SmallLLM").inc()
metrics.series(metrics.service_requests_total, "SmallLLM").inc()
print(os.getpid(), flush=True)
os._exit(9)
"""


def test_each_start_names_a_folder_of_its_own() -> None:
    provider = BentoMLContainer.prometheus_multiproc_dir
    try:
        named = set()
        for _ in range(2):
            metrics_folder.install()
            named.add(provider.get())
        assert len(named) == 2
    finally:
        provider.reset()


def test_a_dead_process_has_nothing_in_work_and_what_it_counted_still_counts(
    tmp_path: Path,
) -> None:
    environment = {metrics_folder.VARIABLE: str(tmp_path)}
    words = [sys.executable, "-c", WORKER]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    watcher: Any = SimpleNamespace(env=environment)
    assert 'tiffin_in_work{service="SmallLLM"} 1.0' in shown(tmp_path)
    metrics_folder.forget(watcher, int(done.stdout))
    assert "tiffin_in_work{" not in shown(tmp_path)
    assert 'tiffin_service_requests_total{service="SmallLLM"} 1.0' in shown(tmp_path)
    metrics_folder.remove([watcher])
    assert not tmp_path.exists()


def shown(folder: Path) -> str:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry).decode()
