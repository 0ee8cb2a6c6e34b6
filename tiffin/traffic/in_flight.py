"""Bounds the work in hand: the next piece is refused before anything of it starts."""

from collections.abc import Generator
from contextlib import contextmanager

from tiffin.core.errors import Overloaded


class Admission:
    """Counts what is in work. `what` names it in the refusal, in the plural."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._held = 0

    @property
    def held(self) -> int:
        """Places taken now."""
        return self._held

    @contextmanager
    def place(self) -> Generator[None, None, None]:
        """Hold a place for the block. Raises Overloaded when none is free."""
        if self._held >= self._limit:
            raise Overloaded(f"{self._held} {self._what} are in work, the limit is {self._limit}")
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
