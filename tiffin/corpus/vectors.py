"""The vectors of one corpus in memory: the exact scan, which is also what an index is tested by.

100,000 chunks of 384 dimensions take 150 MB and one product of 5 to 20 ms; LanceDB's own scan of
the same rows took five times as long (docs/decisions/0094). `search.py` keeps one `Vectors` a
corpus and brings it up to date before each search, reading only what is new.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiffin.core.scores import best_first
from tiffin.corpus.table import Table


@dataclass
class Vectors:
    """Rows (n, width) of the chunks with the numbers `seqs`; `places` are theirs in the table."""

    version: int = 0
    seqs: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    places: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    files: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    names: tuple[str, ...] = ()
    """The files; `files` holds their positions here."""
    rows: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def refreshed(self, table: Table) -> "Vectors":
        """The same in the table's newest version; blocks, and copies only if something changed."""
        version = table.version
        if version == self.version:
            return self
        seqs, places, files = table.ids()
        newest = int(self.seqs.max(initial=-1))
        added, rows = table.vectors_after(newest)
        known = np.concatenate([self.seqs, added])
        held = np.concatenate([self.rows, rows]) if len(self.rows) else rows
        order = np.argsort(known, kind="stable")
        kept = np.flatnonzero(np.isin(seqs, known))  # what went while this was read is left out
        kept = kept[np.argsort(seqs[kept], kind="stable")]
        at = order[np.searchsorted(known[order], seqs[kept])]
        named = np.array(files, dtype=object)[kept]
        names, codes = np.unique(named, return_inverse=True)
        return Vectors(version, seqs[kept], places[kept], codes, tuple(names.tolist()), held[at])

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

    def cosine(self, position: int, query: NDArray[np.float32]) -> float:
        """The similarity of one row to the query."""
        return float(self.rows[position] @ query)

    def positions(self, seqs: list[int]) -> list[int | None]:
        """Where the chunks with these numbers are; None for one that is gone."""
        found = np.searchsorted(self.seqs, seqs)
        return [
            int(i) if i < len(self.seqs) and self.seqs[i] == seq else None
            for i, seq in zip(found, seqs, strict=True)
        ]
