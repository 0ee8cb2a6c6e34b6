"""Measures the stages of one request."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from tiffin.core.values import Timings


class Timeline:
    """Begins when it is made. Stages may overlap."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spans_ms: dict[str, float] = {}
        self._running: dict[str, float] = {}
        self._first_token_ms = 0.0

    @contextmanager
    def stage(self, name: str) -> Generator[None, None, None]:
        """Measure the block as stage `name`; a stage that failed counts too."""
        began = self._running[name] = time.perf_counter()
        try:
            yield
        finally:
            self._spans_ms[name] = (time.perf_counter() - began) * 1000
            del self._running[name]

    def first_token(self) -> None:
        """Note the first text; later calls change nothing."""
        if not self._first_token_ms:
            self._first_token_ms = self._since_start_ms()

    def timings(self) -> Timings:
        """The measurements so far."""
        spans = {f"{name}_ms": round(span, 2) for name, span in self._spans_ms.items()}
        return Timings(
            first_token_ms=round(self._first_token_ms, 2),
            total_ms=round(self._since_start_ms(), 2),
            **spans,
        )

    def ran(self) -> str:
        """The stages that ran, with their times: `embed 12 ms, rerank 40 ms`."""
        return ", ".join(f"{name} {span:.0f} ms" for name, span in self._spans_ms.items())

    def _since_start_ms(self) -> float:
        return (time.perf_counter() - self._began) * 1000
