"""How hard a query is: a small trained model if it knows such queries, else the query's length.

Called by `tiffin.routing.decide`. The model compares the query's text features and embedding with
some hundred queries of its training data. How near the embedding is to those tells whether it may
judge: on domains that it did not learn from it is no better than length alone
(docs/routing-evaluation.md), and without an embedding nobody knows the domain. Isotonic curves
calibrate both, fitted to judgements of subjects that were not trained on. The file's metadata say
what the model was trained on, how, and with which seed. `tiffin router train` makes a file
(lab/router/training.py).
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
    """A kernel on the text features and on the embedding's place along some `axes`.

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

        `text` is (rows, features), `vectors` (rows, dimensions).
        """
        gains = self.kernel.value(inputs(text, vectors, self.centre, self.axes))
        difficulty: Floats = (1 / (1 + np.exp(-gains / self.spread))).astype(np.float32)
        return difficulty

    def p_cheap(self, difficulty: Floats) -> Floats:
        """The calibrated probability that the cheapest tier suffices."""
        p_cheap: Floats = np.interp(difficulty, *self.curve).astype(np.float32)
        return p_cheap


_OWN = ("centre", "axes", "spread", "curve")
_FALLBACK = ("centres", "least", "length")
_KERNEL = tuple(field.name for field in fields(Kernel))


def inputs(text: Floats, vectors: Floats, centre: Floats, axes: Floats) -> Floats:
    """What the kernel reads from each row."""
    rows: Floats = np.hstack([text, (vectors - centre) @ axes])
    return rows


@dataclass(frozen=True)
class ComplexityModel:
    """Judges queries.

    `centres` (centres, dimensions), L2-normalised, are where the embeddings of the training data
    lie; a query whose greatest cosine with them is below `least` (1,) is unlike them. `length`
    (2, knots) maps the feature `log_chars` to the probability that the cheapest tier suffices.
    `metadata` describe the training: seed, digest of the data, features.
    """

    head: Head
    centres: Floats
    least: Floats
    length: Floats
    metadata: Mapping[str, str]

    def judge(self, features: Mapping[str, float], vector: Floats | None) -> Complexity:
        """The complexity of a query, from its text features and, if there is one, its embedding."""
        if vector is None or len(vector) != len(self.head.centre):
            return self._by_length(features, "there is no embedding")
        if self.nearness(vector[None, :])[0] < self.least[0]:
            return self._by_length(features, "unlike what the model learned from")
        text = np.fromiter(features.values(), np.float32, len(features))[None, :]
        difficulty = self.head.difficulty(text, vector[None, :])
        p_cheap = float(self.head.p_cheap(difficulty)[0])
        return _complexity(float(difficulty[0]), p_cheap, "model: embedding and text")

    def nearness(self, vectors: Floats) -> Floats:
        """How near embeddings (rows, dimensions) are to what the model knows: (rows,)."""
        near: Floats = (vectors @ self.centres.T).max(axis=1)
        return near

    def _by_length(self, features: Mapping[str, float], why: str) -> Complexity:
        length = features["log_chars"]
        return _complexity(length, float(np.interp(length, *self.length)), f"length: {why}")

    @classmethod
    def load(cls, path: Path) -> "ComplexityModel":
        """Read a file. Raises ComplexityModelError."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata: dict[str, str] = file.metadata() or {}
                tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            head = Head(
                **{name: tensors[name] for name in _OWN},
                kernel=Kernel(**{name: tensors[name] for name in _KERNEL}),
            )
            judged = {name: tensors[name] for name in _FALLBACK}
        except (OSError, SafetensorError, ValueError) as error:
            raise ComplexityModelError(f"{path}: not a complexity model: {error}") from error
        except KeyError as error:
            message = f"{path}: no tensor {error}; train it again: tiffin router train"
            raise ComplexityModelError(message) from error
        names = list(text_features(""))
        if json.loads(metadata.get("features", "[]")) != names:
            message = f"{path}: made for other text features; train it again: tiffin router train"
            raise ComplexityModelError(message)
        return cls(head=head, **judged, metadata=metadata)


def level_of(p_cheap: float) -> Level:
    """The level that a probability stands for."""
    if p_cheap >= SIMPLE_FROM:
        return "simple"
    return "complex" if p_cheap < COMPLEX_BELOW else "moderate"


def _complexity(score: float, p_cheap: float, by: str) -> Complexity:
    return Complexity(level_of(p_cheap), round(score, 4), round(p_cheap, 4), by)
