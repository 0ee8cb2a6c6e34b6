"""Reads a second number in the middle of a cross-encoder: whether the text answers the question.

The last layers of a reranker for web search keep what question and text have in common as words,
and give a text in other words the logit of a text on another matter. Some layers earlier the state
of the first token still tells the two apart, and one weight for each of its numbers reads it, in
the pass that is made anyway (a linear probe: Alain and Bengio 2016). `lab.answers.train` makes
`reading.json`; both encoder engines use it if the model is the one that it was made for.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

SHIPPED = Path(__file__).with_name("reading.json")
PAIRED = Path(__file__).with_name("paired.json")
"""A second number, of the same layers: whether two questions are one (`lab.cache.train`)."""


class Reading(NamedTuple):
    """A row is `bias` (columns,) and, of each layer, the first token's state times its weights.

    `weights` are float32 (columns, hidden) by the number of layers that were run before; 1 is the
    first layer.
    """

    weights: Mapping[int, NDArray[np.float32]]
    bias: NDArray[np.float32]


def shipped(model_dir: Path, path: Path = SHIPPED) -> Reading | None:
    """The reading of that model; None for a model that it was not made for."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if fingerprint(model_dir) != content["model"]:
        return None
    read = [content, json.loads(PAIRED.read_text(encoding="utf-8"))]
    weights = {
        int(layers): np.array([one["weights"][layers] for one in read], np.float32)
        for layers in content["weights"]
    }
    return Reading(weights, np.array([one["bias"] for one in read], np.float32))


def fingerprint(model_dir: Path) -> str | None:
    """The digest of a cross-encoder's last matrix, which no two models share; None if it has none.

    It does not depend on where the folder is or what it is called.
    """
    try:
        with safe_open(model_dir / "model.safetensors", framework="numpy") as file:
            matrix = file.get_tensor("classifier.weight")
    except (OSError, SafetensorError, TypeError):  # numpy has no bfloat16
        return None
    return hashlib.sha256(matrix.astype(np.float32).tobytes()).hexdigest()
