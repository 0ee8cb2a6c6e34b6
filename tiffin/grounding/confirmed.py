"""What an LLM's yes or no adds to the head of `tiffin.grounding.answerable`.

The head compares words and meanings; an LLM that is large enough reads. Where the head is not sure,
`tiffin.pipeline.stages.confirm` asks one whether the evidence answers, and this weighs both. The
weights are next to this file as JSON; `lab.answers.confirmed` makes them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tiffin.grounding.alike import bounded
from tiffin.grounding.answerable import threshold_at

SHIPPED = Path(__file__).with_name("confirmed.json")

SURE = (0.02, 0.95)
"""Below and above these probabilities the head decides alone. Of the development part no answerable
question was below, and three of the 324 unanswerable ones were above."""


@dataclass(frozen=True)
class Confirmed:
    """A logistic regression on both opinions, in logits, and its thresholds.

    `thresholds` are as those of `tiffin.grounding.answerable.Head`.
    """

    head: float
    model: float
    bias: float
    thresholds: Mapping[str, float]
    metadata: Mapping[str, str]

    def probability(self, probability: float, leaning: float) -> float:
        """The head's probability, corrected by what a model leans to, in logits of yes."""
        z = self.head * log_odds(probability) + self.model * bounded(leaning) + self.bias
        return 1 / (1 + math.exp(-z))

    def threshold(self, false_refusals: float) -> float:
        """The probability below which a question is refused, at a wanted rate of false refusals."""
        return threshold_at(self.thresholds, false_refusals)

    def save(self, path: Path = SHIPPED) -> None:
        """Write the file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path = SHIPPED) -> "Confirmed":
        """Read a file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def is_sure(probability: float) -> bool:
    """Whether the head needs no second opinion."""
    least, most = SURE
    return not least <= probability < most


def log_odds(probability: float) -> float:
    """The probability in logits."""
    return math.log(probability / (1 - probability))
