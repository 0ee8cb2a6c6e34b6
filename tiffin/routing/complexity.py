"""How hard a query is: a small trained model on its embedding and its text's features.

Called by `tiffin.routing.decide`. One safetensors file holds two heads: `full` reads the text
features and the embedding, `text` reads the features only, for callers that have no embedding. A
head compares a query with some hundred queries of its training data. An isotonic curve calibrates
it, fitted to judgements of subjects that were not trained on. The file's metadata say what it was
trained on, how, and with which seed. `tiffin router train` makes a file (lab/router/training.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from models.errors import ModelError
from tiffin.core.messages import Complexity, Level
from tiffin.routing.features import text_features
from tiffin.routing.kernel import Kernel

SHIPPED = Path(__file__).with_name("complexity.safetensors")

SIMPLE_FROM = 0.85
COMPLEX_BELOW = 0.76
"""A query is moderate if the probability that the cheapest tier suffices is between these."""

Floats = NDArray[np.float32]


class ComplexityModelError(ModelError):
    """A file is not a complexity model, or was made for other features."""


@dataclass(frozen=True)
class Head:
    """A kernel on the text features and, if there are `axes`, on the embedding's place along them.

    `axes` (dimensions, axes) start at `centre` (dimensions,). `spread` (1,) is the unit of the
    kernel's values. `curve` (2, knots) maps the difficulty to the calibrated probability that the
    cheapest tier suffices; it is linear between knots and never rises.
    """

    centre: Floats
    axes: Floats
    kernel: Kernel
    spread: Floats
    curve: Floats

    def difficulty(self, text: Floats, vectors: Floats) -> Floats:
        """How much the strong tier is likely to gain, from 0 to 1, 0.5 for the average query.

        `text` is (rows, features), `vectors` (rows, dimensions); a head without axes does not read
        `vectors`.
        """
        gains = self.kernel.value(inputs(text, vectors, self.centre, self.axes))
        difficulty: Floats = (1 / (1 + np.exp(-gains / self.spread))).astype(np.float32)
        return difficulty

    def p_cheap(self, difficulty: Floats) -> Floats:
        """The calibrated probability that the cheapest tier suffices."""
        p_cheap: Floats = np.interp(difficulty, *self.curve).astype(np.float32)
        return p_cheap


_OWN = ("centre", "axes", "spread", "curve")
_KERNEL = tuple(field.name for field in fields(Kernel))


def inputs(text: Floats, vectors: Floats, centre: Floats, axes: Floats) -> Floats:
    """What the kernel reads from each row."""
    if axes.shape[1] == 0:
        return text
    rows: Floats = np.hstack([text, (vectors - centre) @ axes])
    return rows


@dataclass(frozen=True)
class ComplexityModel:
    """Judges queries. `metadata` describe its training: seed, digest of the data, features."""

    full: Head
    text: Head
    metadata: Mapping[str, str]

    def judge(self, features: Mapping[str, float], vector: Floats | None) -> Complexity:
        """The complexity of a query, from its text features and, if there is one, its embedding."""
        text = np.fromiter(features.values(), np.float32, len(features))[None, :]
        if vector is not None and len(vector) == len(self.full.centre):
            head, by, vectors = self.full, "model: embedding and text", vector[None, :]
        else:
            head, by, vectors = self.text, "model: text", np.empty((1, 0), np.float32)
        difficulty = head.difficulty(text, vectors)
        p_cheap = float(head.p_cheap(difficulty)[0])
        return Complexity(level_of(p_cheap), round(float(difficulty[0]), 4), round(p_cheap, 4), by)

    @classmethod
    def load(cls, path: Path) -> "ComplexityModel":
        """Read a file. Raises ComplexityModelError."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata: dict[str, str] = file.metadata() or {}
                tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            full, text = _head(tensors, "full"), _head(tensors, "text")
        except (OSError, SafetensorError, ValueError) as error:
            raise ComplexityModelError(f"{path}: not a complexity model: {error}") from error
        except KeyError as error:
            message = f"{path}: no tensor {error}; train it again: tiffin router train"
            raise ComplexityModelError(message) from error
        names = list(text_features(""))
        if json.loads(metadata.get("features", "[]")) != names:
            message = f"{path}: made for other text features; train it again: tiffin router train"
            raise ComplexityModelError(message)
        return cls(full, text, metadata)


def level_of(p_cheap: float) -> Level:
    """The level that a probability stands for."""
    if p_cheap >= SIMPLE_FROM:
        return "simple"
    return "complex" if p_cheap < COMPLEX_BELOW else "moderate"


def _head(tensors: Mapping[str, Any], prefix: str) -> Head:
    own = {name: tensors[f"{prefix}.{name}"] for name in _OWN}
    return Head(**own, kernel=Kernel(**{name: tensors[f"{prefix}.{name}"] for name in _KERNEL}))
