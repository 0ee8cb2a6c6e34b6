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
        """The measurements so far; a stage that did not run counts 0."""

        def span(name: str) -> float:
            return round(self._spans_ms.get(name, 0.0), 2)

        return Timings(
            embed_ms=span("embed"),
            search_ms=span("search"),
            rerank_ms=span("rerank"),
            route_ms=span("route"),
            first_token_ms=round(self._first_token_ms, 2),
            generate_ms=span("generate"),
            total_ms=round(self._since_start_ms(), 2),
        )

    def ran(self) -> str:
        """The stages that ran, with their times: `embed 12 ms, rerank 40 ms`."""
        return ", ".join(f"{name} {span:.0f} ms" for name, span in self._spans_ms.items())

    def _since_start_ms(self) -> float:
        return (time.perf_counter() - self._began) * 1000
