"""How many CPU cores an engine may use. Every service that starts an engine asks this once.

An engine with more threads than idle cores does not just slow down, it collapses: llama.cpp falls
from 120 tokens a second to 4, because each of its steps waits for the slowest thread.
"""

import time
from contextlib import suppress

import joblib
import psutil

SAMPLE_S = 0.3
"""How long the use of the cores by other programs is measured."""


def free_cores(processes: int = 1) -> int:
    """Cores for each of this many processes: those that other programs leave idle; at least 1.

    CPU affinity and the cgroup's quota are respected. What other children of the same supervisor
    use while they start does not count as taken, because it will soon be free.
    """
    busy_s, ours, began = _busy_s(), _used_by_family_s(), time.monotonic()
    time.sleep(SAMPLE_S)
    others_s = _busy_s() - busy_s
    for pid, used_s in _used_by_family_s().items():
        others_s -= used_s - ours.get(pid, 0.0)
    free = len(psutil.Process().cpu_affinity() or ()) - others_s / (time.monotonic() - began)
    return max(1, min(int(joblib.cpu_count()), round(free)) // processes)


def _busy_s() -> float:
    """CPU seconds spent since boot on the cores that this process may use."""
    cores = psutil.cpu_times(percpu=True)
    mine = psutil.Process().cpu_affinity() or ()
    return sum(sum(cores[core][:3]) for core in mine)  # user, nice, system


def _used_by_family_s() -> dict[int, float]:
    """CPU seconds that our supervisor and each of its children have used so far."""
    parent = psutil.Process().parent() or psutil.Process()
    used_s = {}
    for process in [parent, *parent.children(recursive=True)]:
        with suppress(psutil.Error):  # it ended in between
            times = process.cpu_times()
            used_s[process.pid] = times.user + times.system
    return used_s
