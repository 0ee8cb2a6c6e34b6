"""One stored chunk: as a row of the table (`table.py`), and as the text that is searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiffin.corpus.document import Chunk

COLUMNS = ("seq", "file", "number", "start", "end", "page", "headings", "text", "skip")

GROUP_CHUNKS = 256
"""Chunks of one append: small files share one, because each append is a piece of the table."""


@dataclass(frozen=True)
class Row:
    """One stored chunk. `text` holds its headings first, in `skip` characters, to be found by."""

    seq: int
    file: str
    number: int
    start: int
    end: int
    page: int | None
    headings: tuple[str, ...]
    text: str
    skip: int

    @property
    def quote(self) -> str:
        """The text of the document itself."""
        return self.text[self.skip :]


def searched_text(chunk: Chunk) -> tuple[str, int]:
    """What a chunk is embedded and indexed as, its headings first; and the length of those."""
    above = [title for title in chunk.headings if title not in chunk.text]
    if not above:
        return chunk.text, 0
    prefix = " > ".join(above) + "\n"
    return prefix + chunk.text, len(prefix)


def row_of(fields: dict[str, Any]) -> Row:
    """From the columns of a stored row."""
    return Row(**{**fields, "headings": tuple(fields["headings"])})


def as_arrow(
    chunks: Mapping[str, Sequence[Chunk]], vectors: NDArray[np.float32], first: int
) -> Any:  # noqa: ANN401  pyarrow carries no types
    """A table of all chunks, numbered from `first` on; `vectors` (chunks, width) in their order."""
    import pyarrow as pa

    flat = [(file, i, one) for file, its in chunks.items() for i, one in enumerate(its)]
    texts = [searched_text(one) for *_, one in flat]
    width = vectors.shape[1]
    columns = {
        "seq": pa.array(range(first, first + len(flat)), pa.int64()),
        "file": pa.array([file for file, *_ in flat], pa.string()),
        "number": pa.array([number for _, number, _ in flat], pa.int32()),
        "start": pa.array([one.start for *_, one in flat], pa.int64()),
        "end": pa.array([one.end for *_, one in flat], pa.int64()),
        "page": pa.array([one.page for *_, one in flat], pa.int32()),
        "headings": pa.array([list(one.headings) for *_, one in flat], pa.list_(pa.string())),
        "text": pa.array([text for text, _ in texts], pa.string()),
        "skip": pa.array([skip for _, skip in texts], pa.int32()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), width),
    }
    return pa.table(columns)
