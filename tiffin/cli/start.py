"""What `tiffin serve` tells the processes of a start that it shows in its own words.

It goes through the environment to the supervisor, which shows it (`tiffin.cli.starting`), and to
the workers, which then log less.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field

VARIABLE = "START_SHOWN"
"""Environment variable: the `Start` as JSON."""


def is_shown() -> bool:
    """Whether this process belongs to a start that is shown so, and hides BentoML's log."""
    return VARIABLE in os.environ


@dataclass
class Start:
    """`began` is in seconds of the epoch, because it is measured across processes."""

    url: str
    models: dict[str, str]
    """What each service runs, by its name; empty for one without a model."""
    tiers: dict[str, str]
    """The model of each LLM tier, by the tier's name."""
    as_json: bool = False
    """Whether stdout gets an object instead of the last line."""
    began: float = field(default_factory=time.time)

    def to_environment(self) -> dict[str, str]:
        """The variable that hands it to another process."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> "Start | None":
        """The one that this process was handed."""
        text = os.environ.get(VARIABLE)
        return cls(**json.loads(text)) if text else None
