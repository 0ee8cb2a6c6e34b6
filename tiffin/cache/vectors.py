"""Embeddings of texts that were embedded before, such as the passages of a document asked of again.

`tiffin.composition` puts it in front of the Embedding client for the pipeline. A text's vector
depends on nothing but the text and the model, which is one for the life of a process.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tiffin.clients import Encoded
from tiffin.core.context import RequestContext
from tiffin.telemetry import metrics

Vectors = NDArray[np.float32]
OVERHEAD_BYTES = 250
"""What a vector takes besides its numbers."""


class _Known(NamedTuple):
    row: Vectors
    cut: bool


class Embeds(Protocol):
    """Embeds texts: L2-normalised float32 rows, and the tokens read."""

    async def embed(self, texts: Sequence[str], context: RequestContext) -> tuple[Vectors, int]:
        """One row a text."""
        ...

    async def encode(self, texts: Sequence[str], context: RequestContext) -> Encoded:
        """The same, and which texts were not read to their end."""
        ...


class KnownVectors:
    """Asks for the texts that are new, and keeps at most `max_bytes` of vectors.

    A tenant's own texts only: how long a call takes must not tell what others have.
    """

    def __init__(self, embedding: Embeds, max_bytes: int) -> None:
        self._embedding = embedding
        self._max_bytes = max_bytes
        self._rows: OrderedDict[bytes, _Known] = OrderedDict()

    async def embed(self, texts: Sequence[str], context: RequestContext) -> tuple[Vectors, int]:
        """One row a text, and the tokens that were read for those that are new."""
        encoded = await self.encode(texts, context)
        return encoded.rows, encoded.tokens

    async def encode(self, texts: Sequence[str], context: RequestContext) -> Encoded:
        """The same, and which texts were not read to their end."""
        keys = [_key(text, context.tenant) for text in texts]
        rows = {key: row for key in keys if (row := self._rows.get(key)) is not None}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
        metrics.series(metrics.cache_total, "retrieval", "hit").inc(len(rows))
        metrics.series(metrics.cache_total, "retrieval", "miss").inc(len(new))
        tokens = 0
        if new:
            found = await self._embedding.encode(list(new.values()), context)
            tokens, cut = found.tokens, frozenset(found.cut)
            for number, (key, row) in enumerate(zip(new, found.rows, strict=True)):
                rows[key] = _Known(row.copy(), number in cut)
        self._keep(rows)
        known = [rows[key] for key in keys]
        cut_off = [number for number, one in enumerate(known) if one.cut]
        return Encoded(np.stack([one.row for one in known]), tokens, cut_off)

    def _keep(self, rows: dict[bytes, _Known]) -> None:
        """Keep these, as the last to be dropped."""
        for key, one in rows.items():
            self._rows[key] = one
            self._rows.move_to_end(key)
        width = max((one.row.nbytes for one in rows.values()), default=0) + OVERHEAD_BYTES
        while len(self._rows) * width > self._max_bytes:
            self._rows.popitem(last=False)


def _key(text: str, tenant: str) -> bytes:
    whole = f"{len(tenant)}:{tenant}{text}"
    return hashlib.blake2b(whole.encode(), digest_size=16).digest()
