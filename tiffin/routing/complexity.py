"""How hard a query is: a small trained model on its embedding and its text's features.

Called by `tiffin.routing.decide`. Two heads lie in one safetensors file, whose metadata says how
they were trained: one that reads the embedding and the text features, and one for callers that have
no embedding. Each is a logistic regression over standardised features and random Fourier features
of the embedding, calibrated on subjects that it was not trained on. `tiffin.routing.training` makes
the file.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from models.errors import ModelError
from tiffin.routing.features import text_features
from tiffin.transport.messages import Complexity, Level

SHIPPED = Path(__file__).with_name("complexity.safetensors")

Floats = NDArray[np.float32]


class ComplexityModelError(ModelError):
    """The file of a complexity model is not one, or was made for other features."""
