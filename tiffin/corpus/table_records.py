"""What the records say of the tables of corpora: what was done to them, and is to be done.

`upkeep.py` notes when a table was compacted and how its index is asked, and `reembed.py` finds here
which corpora are to be embedded by another model. One transaction switches a corpus to its new
table, so that a process that is killed has either switched it or not.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tiffin.core.database import Database
from tiffin.corpus.entities import Corpus, Reembedding, Upkeep, owner

_ASK = """
INSERT INTO reembeddings (corpus, embedder, generation, asked) VALUES (?, ?, ?, ?)
ON CONFLICT (corpus) DO UPDATE SET embedder = excluded.embedder, asked = excluded.asked,
    generation = CASE WHEN excluded.generation > reembeddings.generation
        THEN excluded.generation ELSE reembeddings.generation + 1 END, done = NULL
WHERE reembeddings.done IS NOT NULL OR reembeddings.embedder != excluded.embedder
"""
_REEMBEDDINGS = f"SELECT {', '.join(Reembedding.__dataclass_fields__)} FROM reembeddings"  # noqa: S608
_COMPACTED = """
INSERT INTO upkeep (corpus, compacted) VALUES (?, ?)
ON CONFLICT (corpus) DO UPDATE SET compacted = excluded.compacted
"""
_INDEXED = """
INSERT INTO upkeep (corpus, probes, recall) VALUES (?, ?, ?)
ON CONFLICT (corpus) DO UPDATE SET probes = excluded.probes, recall = excluded.recall
"""
_SWITCH = """
UPDATE corpora SET embedder = ?, generation = ?, version = version + 1
WHERE id = ? AND EXISTS (
    SELECT 1 FROM reembeddings WHERE corpus = corpora.id AND generation = ? AND done IS NULL
)
"""


class TableRecords(Database):
    """The part of the records that is about tables, by their names."""

    def upkeep(self, table: str) -> Upkeep:
        """What was done to a corpus' table last."""
        rows = self._read("SELECT compacted, probes, recall FROM upkeep WHERE corpus = ?", (table,))
        return Upkeep(*rows[0]) if rows else Upkeep()

    def last_compacted(self) -> int | None:
        """When any table was last compacted."""
        latest: int | None = self._read("SELECT MAX(compacted) FROM upkeep")[0][0]
        return latest

    def note_compacted(self, table: str, when: int) -> None:
        """Record that a table was compacted, which changes no answer."""
        self._write((_COMPACTED, (table, when)))

    def note_index(self, table: str, probes: int | None, recall: float) -> None:
        """Record how an index of vectors is asked, which searches find as a new version."""
        self._write((_INDEXED, (table, probes, recall)), grown(owner(table)))

    def ask_reembedding(self, corpus: Corpus, embedder: str) -> None:
        """Have a corpus embedded anew. One that is going on for the same model goes on."""
        values = (corpus.id, embedder, corpus.generation + 1, int(time.time()))
        self._write((_ASK, values))

    def end_reembedding(self, corpus: str) -> None:
        """Leave the corpus as it is; the generation is not used again."""
        ended = "UPDATE reembeddings SET done = ? WHERE corpus = ? AND done IS NULL"
        self._write((ended, (int(time.time()), corpus)))

    def reembeddings(self) -> list[Reembedding]:
        """Those that go on, and of each corpus the last that is done; the first asked first."""
        return [Reembedding(*row) for row in self._read(f"{_REEMBEDDINGS} ORDER BY asked")]

    def reembedding(self, corpus: str) -> Reembedding | None:
        """The one that goes on."""
        rows = self._read(f"{_REEMBEDDINGS} WHERE corpus = ? AND done IS NULL", (corpus,))
        return Reembedding(*rows[0]) if rows else None

    def of_other_embedders(self, embedder: str) -> int:
        """How many corpora have the vectors of another model than this one."""
        rows = self._read("SELECT COUNT(*) FROM corpora WHERE embedder != ?", (embedder,))
        return int(rows[0][0])

    def switch(self, one: Reembedding, chunks: Mapping[str, int]) -> bool:
        """Let the new table be searched from now on; it has so many chunks of each file.

        False, and nothing is changed, if it lacks a file that can be found, or nobody wants it.
        """
        with self._transaction() as db:
            completed = "SELECT file, chunks FROM members WHERE corpus = ? AND state = 'completed'"
            stored = db.execute(completed, (one.corpus,)).fetchall()
            if any(count and file not in chunks for file, count in stored):
                return False
            values = (one.embedder, one.generation, one.corpus, one.generation)
            if not db.execute(_SWITCH, values).rowcount:
                return False
            db.executemany(
                "UPDATE members SET chunks = ? WHERE corpus = ? AND file = ?",
                [(chunks.get(file, 0), one.corpus, file) for file, _ in stored],
            )
            done = "UPDATE reembeddings SET done = ? WHERE corpus = ?"
            db.execute(done, (int(time.time()), one.corpus))
        return True


def grown(corpus: str) -> tuple[str, Sequence[Any]]:
    """The statement by which a corpus becomes a new version."""
    return "UPDATE corpora SET version = version + 1 WHERE id = ?", (corpus,)
