"""How long work went on, and how much memory it took: for `ingesting.py` and `scale.py`."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Self

import psutil

LOOK_S = 0.25


class Clock:
    """Adds up how long something was going on, however often at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going = 0
        self._since = 0.0
        self.total = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._going += 1
            if self._going == 1:
                self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._going -= 1
            if not self._going:
                self.total += time.perf_counter() - self._since

    def timing(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, timed."""

        @wraps(work)
        def timed(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            with self:
                return work(*given, **named)

        return timed


class Memory:
    """The memory of this process and its children (PSS, in MB) while a block runs.

    It is seen four times a second, so that a shorter peak may be missed.

    PSS counts a page that two processes share once: the sum is what all of them take together.
    """

    def __init__(self) -> None:
        self.before = self.now = self.peak = _pss_mb()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.now = _pss_mb()
            self.peak = max(self.peak, self.now)


def _pss_mb() -> float:
    this, total = psutil.Process(), 0
    for process in (this, *this.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has ended
            continue
    return total / 1e6
