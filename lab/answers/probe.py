"""Fits what `models.engines.reading` reads in the reranker: whether a sentence answers.

A logistic regression on pairs of question and sentence. One column is what logit and cosine are
worth together; the others are the first token's states of two layers, which get the strong ridge.
The result is in units of a logit, so that `tiffin.grounding.evidence.Said` can add them up.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.answers.scores import HIDDEN, LAYERS
from lab.logistic import Floats, logistic
from models.engines.reading import SHIPPED, fingerprint

RIDGE = 400.0
"""By cross-validation over articles and texts of the development part."""


@dataclass(frozen=True)
class Probe:
    """`weights` (2 x hidden,) and a bias: what a sentence's states are worth in logits."""

    weights: Floats
    bias: float

    def readings(self, states: NDArray[np.float32]) -> list[float]:
        """The reading of each row of states, (sentences, 2 x hidden)."""
        rows: list[float] = (states @ self.weights + self.bias).tolist()
        return rows

    def save(self, model_dir: Path, metadata: Mapping[str, str], path: Path = SHIPPED) -> None:
        """Write the file that the engines read."""
        parts = np.split(self.weights, len(LAYERS))
        rows = {str(layers): part.round(6).tolist() for layers, part in zip(LAYERS, parts)}  # noqa: B905
        content = {
            "model": fingerprint(model_dir),
            "metadata": metadata,
            "bias": round(self.bias, 6),
            "weights": rows,
        }
        path.write_text(json.dumps(content) + "\n", encoding="utf-8")

    @classmethod
    def shipped(cls, path: Path = SHIPPED) -> "Probe":
        """The one in the file."""
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [content["weights"][str(layers)] for layers in LAYERS]
        return cls(np.concatenate(rows), content["bias"])


NOTHING = Probe(np.zeros(HIDDEN * len(LAYERS)), 0.0)
"""Reads nothing: for a reranker without readings."""


@dataclass(frozen=True)
class Pairs:
    """Questions with sentences: what logit and cosine are worth, the states, and the answer."""

    worths: Floats
    states: NDArray[np.float32]
    answers: NDArray[np.bool_]


def fit_probe(pairs: Sequence[Pairs]) -> Probe:
    """Logistic regression; the pairs that answer weigh as much as all the others."""
    worths = np.concatenate([item.worths for item in pairs])
    states = np.concatenate([item.states for item in pairs]).astype(np.float64)
    answers = np.concatenate([item.answers for item in pairs])
    mean, scale = states.mean(axis=0), np.maximum(states.std(axis=0), 1e-6)
    x = np.hstack([worths[:, None] / worths.std(), (states - mean) / scale])
    ridge = np.array([1.0, *[RIDGE] * states.shape[1]])
    weights, bias = logistic(x, answers, ridge)
    a_logit = weights[0] / worths.std()
    own = weights[1:] / scale / a_logit
    return Probe(own, float(bias / a_logit - mean @ own))
