"""The reranker's scores of pairs that were scored before: a question asked again of a document.

`tiffin.composition` puts it in front of the Reranker client for the pipeline. A pair's score
depends on nothing but its texts and the model, which is one for the life of a process.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tiffin.cache.recent import Recent, key_of
from tiffin.clients import Read
from tiffin.core.context import RequestContext

Logits = NDArray[np.float32]
ENTRY_BYTES = 350
"""What one pair takes: its key, two numbers, and their place."""


class Reranks(Protocol):
    """Scores texts for a query: float32 (texts,), higher is more relevant, and the tokens read."""

    async def score(
        self, query: str, passages: list[str], context: RequestContext
    ) -> tuple[Logits, int]:
        """The logit of each passage."""
        ...

    async def read(self, query: str, sentences: list[str], context: RequestContext) -> Read:
        """The logit of each sentence, and whether its model reads an answer there."""
        ...


class _Known(NamedTuple):
    logit: float
    reading: float | None = None


class KnownScores:
    """Asks for the pairs that are new, and keeps at most `max_bytes` of scores.

    A tenant's own pairs only. What the reranker cuts off is the same each time.
    """

    def __init__(self, reranker: Reranks, max_bytes: int) -> None:
        self._reranker = reranker
        self._passages = Recent[_Known](max_bytes // 2)
        self._sentences = Recent[_Known](max_bytes // 2)

    async def score(
        self, query: str, passages: list[str], context: RequestContext
    ) -> tuple[Logits, int]:
        """The logit of each passage, and the tokens that were read for those that are new."""
        keys = [key_of(context.tenant, query, text) for text in passages]
        rows = self._passages.find(keys)
        new = {key: text for key, text in zip(keys, passages, strict=True) if key not in rows}
        tokens = 0
        if new:
            logits, tokens = await self._reranker.score(query, list(new.values()), context)
            rows |= {key: _Known(logit) for key, logit in zip(new, logits.tolist(), strict=True)}
        self._passages.keep(rows, ENTRY_BYTES)
        return np.array([rows[key].logit for key in keys], np.float32), tokens

    async def read(self, query: str, sentences: list[str], context: RequestContext) -> Read:
        """The same of sentences, with their readings if the model has them."""
        keys = [key_of(context.tenant, query, text) for text in sentences]
        rows = self._sentences.find(keys)
        new = {key: text for key, text in zip(keys, sentences, strict=True) if key not in rows}
        tokens = 0
        if new:
            read = await self._reranker.read(query, list(new.values()), context)
            tokens = read.tokens
            readings = [None] * len(new) if read.readings is None else read.readings.tolist()
            values = zip(new, read.logits.tolist(), readings, strict=True)
            rows |= {key: _Known(logit, reading) for key, logit, reading in values}
        self._sentences.keep(rows, ENTRY_BYTES)
        known = [rows[key] for key in keys]
        logits = np.array([one.logit for one in known], np.float32)
        readings = [one.reading for one in known if one.reading is not None]
        whole = len(readings) == len(known)
        return Read(logits, np.array(readings, np.float32) if whole else None, tokens)
