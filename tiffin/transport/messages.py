"""The messages between services, one pair a method. The LLM's are in `models.values`."""

import msgspec
import numpy as np
from numpy.typing import NDArray


class Array(msgspec.Struct, frozen=True):
    """A float32 array: `data` is row-major, little-endian, 4 * prod(shape) bytes."""

    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[np.float32]) -> "Array":
        """Pack an array of any shape."""
        return cls(array.shape, np.ascontiguousarray(array, dtype="<f4").tobytes())

    def numpy(self) -> NDArray[np.float32]:
        """A read-only view of the data. Raises ValueError when size and shape disagree."""
        return np.frombuffer(self.data, dtype="<f4").reshape(self.shape)


class EmbedRequest(msgspec.Struct, frozen=True):
    """Texts to embed, each as it is or as ids of the model's own tokens.

    What is longer than the model reads is truncated, or refused when `truncate` is false.
    """

    texts: list[str | list[int]]
    truncate: bool = True


class Embeddings(msgspec.Struct, frozen=True):
    """L2-normalised float32 rows in the order of the texts, and the tokens they cost."""

    vectors: Array
    tokens: int


class RerankRequest(msgspec.Struct, frozen=True):
    """Passages to score against a query, or against one query each.

    What is longer than the model reads is truncated, or refused when `truncate` is false.
    """

    query: str | list[str]
    passages: list[str]
    truncate: bool = True


class RerankScores(msgspec.Struct, frozen=True):
    """One float32 logit a passage, in the order of the passages, and the tokens they cost."""

    logits: Array
    tokens: int


class RouteRequest(msgspec.Struct, frozen=True):
    """Which tier should answer: `model` is a tier's name or `auto`."""

    query: str
    model: str


class RouteDecision(msgspec.Struct, frozen=True):
    """The tier to ask, why, and which to ask next (in order) when it cannot answer."""

    tier: str
    reason: str
    fallbacks: list[str]


class ServiceHealth(msgspec.Struct, frozen=True):
    """A service's own word on whether it can take work, and which service of which Tiffin it is.

    The transport fills in the last three.
    """

    ready: bool
    detail: str = ""
    service: str = ""
    version: str = ""
    protocol: int = 0
