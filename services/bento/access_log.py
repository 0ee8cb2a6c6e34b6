"""Keeps refused requests, and the files of the page at `/`, from filling BentoML's access log.

Why: in an overload a thousand requests a second are refused, and writing a line about one costs
more than refusing it. A browser that opens the page asks for a dozen files.

Upstream: not reported. BentoML's `logging.access` knows paths to skip, but no limit on lines.
"""

import logging
import time

REFUSALS_LOGGED = 10
"""Lines about refused requests in a second."""


def install() -> None:
    """Filter the lines of every request."""
    logging.getLogger("bentoml.access").addFilter(FewRefusals())


class FewRefusals(logging.Filter):
    """Lets through at most `REFUSALS_LOGGED` lines a second about requests that were refused."""

    def __init__(self) -> None:
        super().__init__()
        self._second, self._logged = 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        line = record.getMessage()
        if ",path=/playground/" in line:
            return False
        if "(status=503," not in line:
            return True
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._logged = second, 0
        self._logged += 1
        return self._logged <= REFUSALS_LOGGED
