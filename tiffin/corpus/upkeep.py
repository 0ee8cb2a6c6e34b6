"""Keeps the tables of corpora in order, and says how they are. `ingest.py` calls it, in threads.

What was deleted leaves the table, pieces are merged, words are indexed; vectors too, once there are
too many for the exact scan. All of it happens while searches go on, in one process at a time.
Files are ingested while vectors are indexed, which takes minutes for a million chunks, and wait
while pieces are merged. An index of vectors is used only if it is measured to find what the exact
scan finds.
"""

import logging
import time
from contextlib import suppress

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from tiffin.corpus.entities import owner
from tiffin.corpus.fusion import CANDIDATES
from tiffin.corpus.memory import give_back
from tiffin.corpus.rows import GROUP_CHUNKS
from tiffin.corpus.store import Store
from tiffin.corpus.table import Health, Table
from tiffin.telemetry import metrics

logger = logging.getLogger(__name__)

MAX_FRAGMENTS = 16
"""Appends after which a table is compacted."""
UNINDEXED = 5_000
"""Rows that the word index may lack while more are coming: they are searched one by one."""
SHARE = 20
"""Or this share (a twentieth) of a large table, because LanceDB rewrites it when it compacts."""

EXACT_CHUNKS = 100_000
"""Up to so many vectors are scanned exactly; it takes 20 ms and 150 MB."""

PROBES = (10, 20, 40, 80, 160)
LEAST_RECALL = 0.95
TOP = 10
SLACK = 1e-5
"""By so much LanceDB's cosine of two vectors may differ from numpy's."""
SAMPLE = 100
"""Questions that an index is tested with."""
AGED, OUTGROWN = 1.2, 2
"""An index is measured again after so much growth, and made anew after so much."""


class Keeper:
    """Looks after the tables of one store.

    `health` is what was found when each was last seen, by the table's name.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed: set[str] = set()
        self._aged: set[str] = set()
        self._measured: dict[str, int] = {}
        self._made: dict[str, int] = {}
        """The chunks of a table when its index was last measured, and made, by this process."""
        self.health: dict[str, Health] = {}
        self.compacted: int | None = None
        """When any table was last compacted, in Unix seconds."""

    def note_changed(self, corpus: str) -> None:
        """Files were taken out of this corpus."""
        self._changed.add(corpus)

    def due(self) -> list[str]:
        """Corpora that need work, because of this process, another one, or one that died."""
        corpora = self._store.records.all_corpora()
        for name in (names := {corpus.table for corpus in corpora}):
            table = self._store.table(name)
            if name not in self.health or self.health[name].version != table.version:
                self.health[name] = table.health()
        for gone in self.health.keys() - names:
            del self.health[gone]
        self._changed.intersection_update(corpus.id for corpus in corpora)
        self.compacted = self._store.records.last_compacted()
        self._show()
        return sorted(self._changed.union(map(owner, filter(self.is_untidy, self.health))))

    def is_untidy(self, table: str) -> bool:
        """Whether something was due when the table was last seen."""
        health = self.health[table]
        return health.unindexed > 0 or _crowded(health)

    def to_index(self) -> list[str]:
        """Tables whose index of vectors is to be made or measured, or was when that was cut off."""
        large = [name for name, it in list(self.health.items()) if it.chunks > EXACT_CHUNKS]
        records = self._store.records
        return [name for name in large if name in self._aged or records.upkeep(name).recall is None]

    def tidy(self, table: Table, *, more: bool) -> None:
        """Do what is due to a table that this process may write; `more` files are to come."""
        if (corpus := owner(table.name)) in self._changed:
            self._changed.discard(corpus)
            self._delete_orphans(corpus, table)
        health = table.health()
        with suppress(Timeout), self._store.alone():  # else another round does it
            if _crowded(health) or (health.unindexed > 0 and not more):
                self._compact(table)
                health = table.health()
                self._note_aged(table.name, health.chunks, more=more)
        self.health[table.name] = health
        self._show()

    def _compact(self, table: Table) -> None:
        table.compact()
        give_back()
        self.compacted = int(time.time())
        self._store.records.note_compacted(table.name, self.compacted)

    def _note_aged(self, table: str, chunks: int, *, more: bool) -> None:
        """Its index, if it has one, has got new rows: not every time while more are coming."""
        if self._store.records.upkeep(table).probes is None:
            return
        if not more or chunks > AGED * self._measured.get(table, 0):
            self._aged.add(table)

    def _delete_orphans(self, corpus: str, table: Table) -> None:
        members = self._store.records
        gone = [file for file in table.ids().names if members.member(corpus, file) is None]
        table.delete(sorted(gone))

    def index(self, name: str) -> bool:
        """Make or measure the index of a table's vectors; False if another process is busy.

        The corpus may be written meanwhile. LanceDB scans what its index lacks, and the next
        compaction adds that to the index. Compactions wait, because they move what is indexed.
        """
        try:
            with self._store.alone():
                self._index(self._store.table(name))
        except Timeout:
            return False
        return True

    def _index(self, table: Table) -> None:
        """Find how many cells of the index must be read. If all are too few, scan exactly.

        An index that has aged, because much was added since it was made, is made anew.
        """
        health, name = table.health(), table.name
        self._aged.discard(name)
        outgrown = health.chunks >= OUTGROWN * self._made.get(name, health.chunks)
        probes, found = _measured(table) if health.indexed and not outgrown else (0, 0.0)
        if found < LEAST_RECALL:
            began = time.monotonic()
            table.index_vectors()
            self._made[name] = health.chunks
            give_back()
            probes, found = _measured(table)
            took_s = time.monotonic() - began
            logger.info("%s: vectors indexed in %.0f s, recall %.3f", name, took_s, found)
        if found < LEAST_RECALL:
            logger.warning("%s: its index finds %.2f only and is not used", name, found)
        used = probes if found >= LEAST_RECALL else None
        self._measured[name] = health.chunks
        self._store.records.note_index(name, used, found)

    def _show(self) -> None:
        every = list(self.health.values())
        metrics.corpus_chunks.set(sum(health.chunks for health in every))
        metrics.corpus_unindexed_chunks.set(sum(health.unindexed for health in every))
        metrics.corpus_fragments.set(max((health.fragments for health in every), default=0))


def _crowded(health: Health) -> bool:
    share = health.chunks // SHARE
    pieces = max(MAX_FRAGMENTS, share // GROUP_CHUNKS)
    return health.fragments > pieces or health.unindexed > max(UNINDEXED, share)


def _measured(table: Table) -> tuple[int, float]:
    """The fewest cells to read for the least recall of the exact ten, and the recall of that.

    Questions are between two stored vectors each, because the users' own do not lie where chunks
    lie: an index finds stored vectors much more easily than what is asked about them.
    """
    table = table.frozen()  # else what is written meanwhile would count as missed
    places = table.ids().places
    sample = np.random.default_rng(0).choice(places, 2 * SAMPLE, replace=False)
    stored = np.stack(list(table.vectors_at(sample.tolist()).values()))
    asked = stored[:SAMPLE] + stored[SAMPLE:]
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    least = nearest(table, asked, TOP)
    recall = 0.0
    for probes in PROBES:
        found = 0
        for vector, cosine in zip(asked, least, strict=True):
            near = table.near(vector, CANDIDATES, probes)[:TOP]
            found += sum(other >= cosine - SLACK for _, other in near)
        recall = found / (TOP * len(asked))
        if recall >= LEAST_RECALL:
            return probes, recall
    return PROBES[-1], recall


def nearest(table: Table, questions: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The cosine (n,) of the last of the `count` chunks most similar to each question (n, width).

    Which chunks these are does not matter, because there may be many that say the same.
    """
    best = np.full((len(questions), count), -1, np.float32)
    for _, rows in table.batches():
        best = np.concatenate([best, questions @ rows.T], axis=1)
        best = -np.partition(-best, count - 1, axis=1)[:, :count]
    least: NDArray[np.float32] = best.min(axis=1)
    return least
