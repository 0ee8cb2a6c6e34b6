"""Weightless encoders behind the real token batcher, which fail on one word: `POISON`."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tiffin.core.context import RequestContext
from tiffin.core.messages import Array, Embeddings, EmbedRequest, RerankRequest, RerankScores
from tiffin.traffic.batching import TokenBatcher

POISON = "poison"
DIMENSIONS = 384
PASS_S = 0.005
"""One forward pass, whatever is in it."""


@dataclass(frozen=True)
class _Item:
    query: frozenset[str]
    words: frozenset[str]

    @property
    def tokens(self) -> int:
        return max(1, len(self.query) + len(self.words))


class Batched:
    """Embeds and scores by the words of a text.

    `counts` counts the calls; `spoilt` the batches that a bad item shared with good ones.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self.spoilt = 0
        self._counts = counts
        limits = {"max_batch_tokens": 1024, "max_queue_tokens": 1 << 18}
        self._embedder = TokenBatcher(_texts, self._vectors, **limits)
        self._scorer = TokenBatcher(_pairs, self._logits, **limits)

    async def embed(self, request: EmbedRequest, _: RequestContext) -> Embeddings:
        """A vector a text."""
        self._counts["embed"] += 1
        rows, tokens = await self._embedder.submit(request.texts)
        return Embeddings(Array.of(rows), tokens)

    async def score(self, request: RerankRequest, _: RequestContext) -> RerankScores:
        """A logit a passage."""
        self._counts["rerank"] += 1
        query = request.query
        queries = [query] * len(request.passages) if isinstance(query, str) else query
        pairs = list(zip(queries, request.passages, strict=True))
        rows, tokens = await self._scorer.submit(pairs)
        return RerankScores(Array.of(rows.reshape(-1)), tokens)

    def _vectors(self, batch: Sequence[_Item]) -> NDArray[np.float32]:
        self._pass(batch)
        rows = np.full((len(batch), DIMENSIONS), 1e-3, np.float32)
        for row, item in zip(rows, batch, strict=True):
            for word in item.words:
                row[blake2b(word.encode(), digest_size=2).digest()[0]] += 1
        scaled: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return scaled

    def _logits(self, batch: Sequence[_Item]) -> NDArray[np.float32]:
        self._pass(batch)
        return np.array([[len(item.query & item.words) - 2.0] for item in batch], np.float32)

    def _pass(self, batch: Sequence[_Item]) -> None:
        time.sleep(PASS_S)
        bad = sum(POISON in item.words for item in batch)
        if bad:
            self.spoilt += len(batch) > bad
            message = "a bad item"
            raise ValueError(message)


def _texts(texts: Sequence[str | list[int]]) -> list[_Item]:
    return [_Item(frozenset(), _words(str(text))) for text in texts]


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[_Item]:
    return [_Item(_words(query), _words(passage)) for query, passage in pairs]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.lower().split())
