"""Embeddings of texts that were embedded before, such as the passages of a document asked of again.

`tiffin.composition` puts it in front of the Embedding client for the pipeline. A text's vector
depends on nothing but the text and the model, which is one for the life of a process.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tiffin.cache.recent import Recent, key_of
from tiffin.clients import Encoded
from tiffin.core.context import RequestContext

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

    A tenant's own texts only.
    """

    def __init__(self, embedding: Embeds, max_bytes: int) -> None:
        self._embedding = embedding
        self._rows = Recent[_Known](max_bytes)

    async def embed(self, texts: Sequence[str], context: RequestContext) -> tuple[Vectors, int]:
        """One row a text, and the tokens that were read for those that are new."""
        encoded = await self.encode(texts, context)
        return encoded.rows, encoded.tokens

    async def encode(self, texts: Sequence[str], context: RequestContext) -> Encoded:
        """The same, and which texts were not read to their end."""
        keys = [key_of(context.tenant, text) for text in texts]
        rows = self._rows.find(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
        tokens = 0
        if new:
            found = await self._embedding.encode(list(new.values()), context)
            tokens, cut = found.tokens, frozenset(found.cut)
            for number, (key, row) in enumerate(zip(new, found.rows, strict=True)):
                rows[key] = _Known(row.copy(), number in cut)
        width = max((one.row.nbytes for one in rows.values()), default=0) + OVERHEAD_BYTES
        self._rows.keep(rows, width)
        known = [rows[key] for key in keys]
        cut_off = [number for number, one in enumerate(known) if one.cut]
        return Encoded(np.stack([one.row for one in known]), tokens, cut_off)
