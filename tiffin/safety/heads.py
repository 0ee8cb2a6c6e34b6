"""The trained heads: logistic regressions, each in a JSON file of a few kB next to this one.

`injection`, `hate` and `offensive` read a sentence embedding of all-MiniLM-L6-v2 (L2-normalised,
384 values); `instructions` reads the kinds of words in a sentence (`tiffin.safety.instructions`);
`orders` and `commands` read both, of those that `instructions` picks and of any sentence.
`lab/safety/train.py` makes them, `tiffin.safety.detector` asks them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

VECTOR_HEADS = ("injection", "hate", "offensive")
INSTRUCTIONS = "instructions"
ORDERS = "orders"
COMMANDS = "commands"


class HeadError(ValueError):
    """The file does not hold a head."""


@dataclass(frozen=True)
class Head:
    """A logistic regression, and its thresholds.

    `weights` is float32 (inputs,). `thresholds` maps a rate of false positives, as text ("0.01"),
    to the probability above which that share of harmless development texts is flagged.
    """

    weights: Floats
    bias: float
    thresholds: Mapping[str, float]
    metadata: Mapping[str, str]

    def logits(self, rows: Floats) -> Floats:
        """The log-odds of each row: float32 (rows, inputs) to (rows,). Raises HeadError."""
        if rows.shape[1] != len(self.weights):
            message = f"the head reads {len(self.weights)} values, not {rows.shape[1]}"
            raise HeadError(message)
        z = np.clip(rows @ self.weights + np.float32(self.bias), -30, 30)
        return np.asarray(z, np.float32)

    def probabilities(self, rows: Floats) -> Floats:
        """The probability of each row: float32 (rows, inputs) to (rows,). Raises HeadError."""
        return np.asarray(1 / (1 + np.exp(-self.logits(rows))), np.float32)

    def threshold(self, false_positives: float) -> float:
        """The probability above which a text is flagged, for a wanted rate of false positives."""
        rates = sorted(map(float, self.thresholds))
        values = [self.thresholds[f"{rate:g}"] for rate in rates]
        return float(np.interp(false_positives, rates, values))

    def save(self, path: Path) -> None:
        """Write the file."""
        content = {
            "weights": [round(float(weight), 4) for weight in self.weights],
            "bias": round(self.bias, 4),
            "thresholds": dict(self.thresholds),
            "metadata": dict(self.metadata),
        }
        path.write_text(json.dumps(content) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read a file. Raises HeadError."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            weights = np.array(content["weights"], np.float32)
            return cls(weights, content["bias"], content["thresholds"], content["metadata"])
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise HeadError(f"{path}: not a head: {error}") from error

    @classmethod
    def shipped(cls, name: str) -> "Head":
        """One of those that come with Tiffin, by name."""
        return cls.load(Path(__file__).with_name(f"{name}.json"))
