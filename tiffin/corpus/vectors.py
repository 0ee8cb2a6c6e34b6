"""Where the chunks of one corpus are and whose, and their vectors in memory for the exact scan.

100,000 chunks of 384 dimensions take 150 MB and one product of 5 to 20 ms; LanceDB's own scan of
the same rows took five times as long (docs/decisions/0094). Beyond that an index answers
(docs/decisions/0088): no vector is kept, and a chunk takes 24 bytes. `search.py` keeps one of these
for each corpus and brings it up to date before each search, reading only what is new.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiffin.core.scores import best_first
from tiffin.corpus.table import Table


@dataclass
class Vectors:
    """Rows (n, width) of the chunks with the numbers `seqs`; `places` are theirs in the table.

    `rows` is empty unless `exact`.
    """

    version: int = 0
    seqs: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    places: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    files: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    names: tuple[str, ...] = ()
    """The files; `files` holds their positions here."""
    rows: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    exact: bool = True

    def refreshed(self, table: Table, *, exact: bool = True) -> "Vectors":
        """The same in the table's newest version; blocks, and copies only if something changed."""
        version = table.version
        if version == self.version and exact == self.exact:
            return self
        ids = table.ids()
        if not exact:
            order = np.argsort(ids.seqs, kind="stable")
            parts = ids.seqs[order], ids.places[order], ids.files[order], tuple(ids.names)
            return Vectors(version, *parts, exact=False)
        held_seqs, held = (self.seqs, self.rows) if self.exact else (self.seqs[:0], self.rows)
        added, rows = table.vectors_after(int(held_seqs.max(initial=-1)))
        known = np.concatenate([held_seqs, added])
        held = np.concatenate([held, rows]) if len(held) else rows
        order = np.argsort(known, kind="stable")
        kept = np.flatnonzero(np.isin(ids.seqs, known))  # what went meanwhile is left out
        kept = kept[np.argsort(ids.seqs[kept], kind="stable")]
        at = order[np.searchsorted(known[order], ids.seqs[kept])]
        parts = ids.seqs[kept], ids.places[kept], ids.files[kept], tuple(ids.names)
        return Vectors(version, *parts, held[at])

    def of_files(self, files: AbstractSet[str]) -> NDArray[np.bool_]:
        """Which rows belong to these files: (n,)."""
        wanted = np.array([name in files for name in self.names], np.bool_)
        return wanted[self.files] if len(self.names) else np.zeros(0, np.bool_)

    def similar(
        self, query: NDArray[np.float32], allowed: NDArray[np.bool_], count: int
    ) -> list[tuple[int, float]]:
        """Positions and cosines of the rows most similar to the query (width,), best first."""
        if not allowed.any():
            return []
        cosines = np.where(allowed, self.rows @ query, np.float32(-np.inf))
        most = min(count, int(allowed.sum()))
        top = np.argpartition(-cosines, most - 1)[:most]
        ranked = top[best_first(cosines[top])]
        return [(int(i), float(cosines[i])) for i in ranked]

    def positions(self, seqs: list[int]) -> list[int | None]:
        """Where the chunks with these numbers are; None for one that is gone."""
        found = np.searchsorted(self.seqs, seqs)
        return [
            int(i) if i < len(self.seqs) and self.seqs[i] == seq else None
            for i, seq in zip(found, seqs, strict=True)
        ]
