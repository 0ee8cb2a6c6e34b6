"""What travels with a request through every stage and service: its id, deadline and trace."""

import time
import uuid
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
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


@dataclass(frozen=True)
class RequestContext:
    """Made once at the door (or from a hop's headers), never changed.

    `deadline_named` says that the client named the deadline itself. `tenant` is whose request it
    is, `batch` that nobody waits for it; both decide who goes first when there is a queue.
    """

    deadline: Deadline
    request_id: str = field(default_factory=lambda: f"req-{uuid.uuid4().hex}")
    traceparent: str | None = None
    tenant: str = "default"
    batch: bool = False
    deadline_named: bool = False
