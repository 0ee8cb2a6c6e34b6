"""How hard a query is: a small trained model on its embedding and its text's features.

Called by `tiffin.routing.decide`. One safetensors file holds two heads: `full` reads the embedding
and the text features, `text` the features alone, for callers that have no embedding. A head is a
small neural network or a logistic regression (no hidden layer), calibrated by an isotonic curve on
subjects that it was not trained on. The file's metadata say from what, how and with which seed it
was trained; `tiffin.routing.training` makes it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.errors import ModelError
from tiffin.routing.features import text_features
from tiffin.transport.messages import Complexity, Level

SHIPPED = Path(__file__).with_name("complexity.safetensors")

SIMPLE_FROM = 0.85
COMPLEX_BELOW = 0.76
"""Probabilities that the cheapest tier suffices, between which a query is moderate."""

Floats = NDArray[np.float32]


class ComplexityModelError(ModelError):
    """The file of a complexity model is not one, or was made for other features."""


@dataclass(frozen=True)
class Head:
    """`layers` are pairs of weights (inputs, outputs) and bias (outputs,); the last has one output.

    Between layers is a ReLU. `curve` (2, knots) maps the network's probability of failure to the
    calibrated probability that the cheapest tier suffices; linear between knots, falling.
    """

    mean: Floats
    scale: Floats
    layers: tuple[tuple[Floats, Floats], ...]
    curve: Floats

    def difficulty(self, rows: Floats) -> Floats:
        """The network's own probability that the cheapest tier fails: float32 (rows,)."""
        hidden: NDArray[Any] = (rows - self.mean) / self.scale
        for weights, bias in self.layers[:-1]:
            hidden = np.maximum(hidden @ weights + bias, 0)
        weights, bias = self.layers[-1]
        logits = (hidden @ weights + bias)[:, 0]
        difficulty: Floats = (1 / (1 + np.exp(-logits))).astype(np.float32)
        return difficulty

    def p_cheap(self, difficulty: Floats) -> Floats:
        """Calibrated."""
        p_cheap: Floats = np.interp(difficulty, *self.curve).astype(np.float32)
        return p_cheap

    def tensors(self, prefix: str) -> dict[str, Floats]:
        """As they lie in the file."""
        tensors = {"mean": self.mean, "scale": self.scale, "curve": self.curve}
        for number, (weights, bias) in enumerate(self.layers):
            tensors |= {f"{number}.weights": weights, f"{number}.bias": bias}
        return {f"{prefix}.{name}": np.ascontiguousarray(t) for name, t in tensors.items()}


@dataclass(frozen=True)
class ComplexityModel:
    """Judges queries. `metadata` are the training's: seed, data digest, features, figures."""

    full: Head
    text: Head
    metadata: Mapping[str, str]

    def judge(self, features: Mapping[str, float], vector: Floats | None) -> Complexity:
        """The complexity of one query: its text features and, where there is one, its embedding."""
        row = np.fromiter(features.values(), np.float32, len(features))
        head, by = self.text, "model: text"
        if vector is not None and len(vector) + len(row) == len(self.full.mean):
            row, head, by = np.concatenate([vector, row]), self.full, "model: embedding and text"
        difficulty = head.difficulty(row[None, :])
        p_cheap = float(head.p_cheap(difficulty)[0])
        return Complexity(level_of(p_cheap), round(float(difficulty[0]), 4), round(p_cheap, 4), by)

    def save(self, path: Path) -> None:
        """Write the file."""
        tensors = self.full.tensors("full") | self.text.tensors("text")
        save_file(tensors, path, metadata=dict(self.metadata))

    @classmethod
    def load(cls, path: Path) -> "ComplexityModel":
        """Read a file. Raises ComplexityModelError."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata: dict[str, str] = file.metadata() or {}
                tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            full, text = _head(tensors, "full"), _head(tensors, "text")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            message = f"{path}: not a complexity model: {error}"
            raise ComplexityModelError(message) from error
        names = list(text_features(""))
        if json.loads(metadata.get("features", "[]")) != names:
            message = f"{path}: made for other text features; train it again: tiffin router train"
            raise ComplexityModelError(message)
        return cls(full, text, metadata)


def level_of(p_cheap: float) -> Level:
    """The word for a probability."""
    if p_cheap >= SIMPLE_FROM:
        return "simple"
    return "complex" if p_cheap < COMPLEX_BELOW else "moderate"


def _head(tensors: Mapping[str, Any], prefix: str) -> Head:
    count = sum(name.startswith(f"{prefix}.") and name.endswith(".bias") for name in tensors)
    if count == 0:
        raise KeyError(prefix)
    layers = tuple(
        (tensors[f"{prefix}.{number}.weights"], tensors[f"{prefix}.{number}.bias"])
        for number in range(count)
    )
    return Head(
        tensors[f"{prefix}.mean"], tensors[f"{prefix}.scale"], layers, tensors[f"{prefix}.curve"]
    )
