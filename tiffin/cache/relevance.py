"""The reranker's scores of pairs that were scored before: a question asked again of a document.

`tiffin.composition` puts it in front of the Reranker client for the pipeline. A pair's score
depends on nothing but its texts and the model, which is one for the life of a process.
"""

from collections.abc import Awaitable, Callable, Sequence
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

        async def ask(new: list[str]) -> tuple[list[_Known], int]:
            logits, tokens = await self._reranker.score(query, new, context)
            return [_Known(logit) for logit in logits.tolist()], tokens

        known, tokens = await _known(self._passages, query, passages, context.tenant, ask)
        return _logits(known), tokens

    async def read(self, query: str, sentences: list[str], context: RequestContext) -> Read:
        """The same of sentences, with their readings if the model has them."""

        async def ask(new: list[str]) -> tuple[list[_Known], int]:
            read = await self._reranker.read(query, new, context)
            readings = [None] * len(new) if read.readings is None else read.readings.tolist()
            return list(map(_Known, read.logits.tolist(), readings)), read.tokens

        known, tokens = await _known(self._sentences, query, sentences, context.tenant, ask)
        readings = [one.reading for one in known if one.reading is not None]
        whole = len(readings) == len(known)
        return Read(_logits(known), np.array(readings, np.float32) if whole else None, tokens)


async def _known(
    kept: Recent[_Known],
    query: str,
    texts: Sequence[str],
    tenant: str,
    ask: Callable[[list[str]], Awaitable[tuple[list[_Known], int]]],
) -> tuple[list[_Known], int]:
    """What is kept of each text, or what `ask` says of the new ones, and the tokens it read."""
    keys = [key_of(tenant, query, text) for text in texts]
    rows, tokens = kept.find(keys), 0
    if new := {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}:
        said, tokens = await ask(list(new.values()))
        rows |= zip(new, said, strict=True)
    kept.keep(rows, ENTRY_BYTES)
    return [rows[key] for key in keys], tokens


def _logits(known: Sequence[_Known]) -> Logits:
    return np.array([one.logit for one in known], np.float32)
