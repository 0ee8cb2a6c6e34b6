"""A point in time by which something must be done."""

import time

import msgspec


class Deadline(msgspec.Struct, frozen=True):
    """A point on this process's monotonic clock, in seconds.

    Between processes the *remaining* time travels, so clocks need not agree.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at - time.monotonic())
