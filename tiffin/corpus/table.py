"""The chunks of one corpus on disk: a LanceDB table, under the rules that its users paid for.

- One writer at a time, in any process, which holds the corpus' lock (`Store.writing`).
- Readers ask for the newest version each time (`read_consistency_interval` 0).
- Nothing is merged in place: a file's chunks are deleted and appended anew, and a chunk counts only
  if `records.py` says that its file is complete.
- It never compacts by itself: `compact` does, and keeps old versions for longer than any search.

Everything here blocks; `search.py` and `ingest.py` call it in threads.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiffin.corpus.document import Chunk
from tiffin.corpus.lance import connect
from tiffin.corpus.rows import COLUMNS, Row, as_arrow, row_of

KEEP_VERSIONS = timedelta(minutes=10)
"""How long a version that was replaced stays on disk for the searches that read it."""

WORDS, MEANING = "text_idx", "vector_idx"
"""The indexes of a table."""
BATCH_ROWS = 20_000
UPKEEP_CACHE = 64 << 20
"""Bytes of indexes that upkeep keeps in memory while it works."""
SAMPLE_RATE = 64
"""Vectors for each cell of an index that decide where the cells lie; LanceDB takes 256."""
REFINED = 2
"""Of so many times the wanted chunks, which the index finds, the exact cosine decides."""


@dataclass(frozen=True)
class Health:
    """What the store says of a table: its chunks, its pieces, and what its indexes lack.

    `unindexed` chunks are not in the index of words yet, and searched one by one. The same holds
    for `unindexed_vectors`; None if there is no index of vectors, and all are scanned.
    """

    chunks: int = 0
    unindexed: int = 0
    unindexed_vectors: int | None = None
    fragments: int = 0
    version: int = 0

    @property
    def indexed(self) -> bool:
        """Whether there is an index of vectors."""
        return self.unindexed_vectors is not None


class Ids(NamedTuple):
    """Of every chunk: its number, its place in the table's version, and its file in `names`."""

    seqs: NDArray[np.int64]
    places: NDArray[np.uint64]
    files: NDArray[np.int64]
    names: list[str]


class Table:
    """A table of the chunks of one corpus, made when it is first written."""

    def __init__(self, connection: Any, name: str) -> None:  # noqa: ANN401
        self._connection = connection
        self.name = name
        self._table: Any = None

    def _opened(self) -> Any:  # noqa: ANN401
        """The table, or None while nothing was written."""
        if self._table is None:
            try:
                self._table = self._connection.open_table(self.name)
            except ValueError:  # LanceDB's word for a table that is not there
                return None
        return self._table

    @property
    def version(self) -> int:
        """The newest version; 0 while nothing was written."""
        table = self._opened()
        return 0 if table is None else int(table.version)

    def append(
        self, chunks: Mapping[str, Sequence[Chunk]], vectors: NDArray[np.float32], first: int
    ) -> None:
        """Add the chunks of some files as one version; `vectors` (chunks, width) is in their order.

        The chunks get the numbers from `first` on. What the files had before is deleted.
        """
        data = as_arrow(chunks, vectors, first)
        table = self._opened()
        if table is None:
            self._table = table = self._connection.create_table(self.name, schema=data.schema)
        else:
            self.delete(chunks)
        table.add(data)

    def delete(self, files: Iterable[str]) -> None:
        """Remove the chunks of these files."""
        table = self._opened()
        if table is not None and (named := [f"'{file}'" for file in files]):
            table.delete(f"file IN ({', '.join(named)})")

    def drop(self) -> None:
        """Remove the table."""
        if self._opened() is not None:
            self._connection.drop_table(self.name)
        self._table = None

    def compact(self) -> None:
        """Merge the pieces, bring the indexes up to date, and forget old versions."""
        if self._opened() is None:
            return
        table = self._apart().open_table(self.name)
        if WORDS not in self._indexes(table):
            from lancedb.index import FTS

            # Positions would serve phrases only, and break merges (lance#7653).
            words = FTS(with_position=False, base_tokenizer="icu")
            table.create_index("text", config=words, name=WORDS)
        table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def index_vectors(self) -> None:
        """Make the index of vectors anew, by a handle of its own, so that searches go on."""
        from lancedb.index import IvfSq

        config = IvfSq(distance_type="cosine", sample_rate=SAMPLE_RATE)
        own = self._apart().open_table(self.name)
        own.create_index("vector", config=config, name=MEANING, replace=True)

    def _apart(self) -> Any:  # noqa: ANN401
        """A connection with its own cache: what upkeep reads is soon replaced, and not kept."""
        return connect(self._connection.uri, UPKEEP_CACHE)

    def frozen(self) -> "Table":
        """The table as it is now, whatever is written meanwhile, with a cache of its own."""
        same = Table(self._apart(), self.name)
        same._opened().checkout(self.version)
        return same

    def _indexes(self, table: Any) -> set[str]:  # noqa: ANN401
        return {index.name for index in table.list_indices()}

    def health(self) -> Health:
        """How the table is. Reads no chunk."""
        table = self._opened()
        if table is None:
            return Health()
        statistics, indexes = table.stats(), self._indexes(table)
        lacks = {name: table.index_stats(name).num_unindexed_rows for name in indexes}
        rows = int(statistics["num_rows"])
        return Health(
            chunks=rows,
            unindexed=lacks.get(WORDS, rows),
            unindexed_vectors=lacks.get(MEANING),
            fragments=int(statistics["fragment_stats"]["num_fragments"]),
            version=int(table.version),
        )

    def ids(self) -> Ids:
        """Of every chunk what says where it is and whose."""
        table = self._opened()
        if table is None:
            return Ids(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.int64), [])
        rows = table.search().select(["seq", "file"]).with_row_id(with_row_id=True).to_arrow()
        files = rows["file"].combine_chunks().dictionary_encode()
        codes, names = files.indices.to_numpy().astype(np.int64), files.dictionary.to_pylist()
        return Ids(rows["seq"].to_numpy(), rows["_rowid"].to_numpy(), codes, names)

    def vectors_after(self, seq: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The numbers (n,) and vectors (n, width) of the chunks with a higher number."""
        table = self._opened()
        if table is None:
            return np.empty(0, np.int64), np.empty((0, 0), np.float32)
        rows = table.search().where(f"seq > {seq}").select(["seq", "vector"]).to_arrow()
        return rows["seq"].to_numpy(), _matrix(rows["vector"].combine_chunks())

    def batches(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """The numbers (n,) and vectors (n, width) of all chunks, some at a time."""
        for rows in self._opened().search().select(["seq", "vector"]).to_batches(BATCH_ROWS):
            yield rows["seq"].to_numpy(), _matrix(rows["vector"])

    def rows(self, places: Sequence[int]) -> dict[int, Row]:
        """The chunks at these places, by number. One that has moved since is missing."""
        if not places:
            return {}
        return {row.seq: row for row in map(row_of, self._taken(places, COLUMNS).to_pylist())}

    def vectors_at(self, places: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The vectors (width,) of the chunks at these places, by number."""
        if not places:
            return {}
        found = self._taken(places, ("seq", "vector"))
        rows = _matrix(found["vector"].combine_chunks())
        return dict(zip(found["seq"].to_pylist(), rows, strict=True))

    def _taken(self, places: Sequence[int], columns: Sequence[str]) -> Any:  # noqa: ANN401
        return self._opened().take_row_ids(list(places)).select(list(columns)).to_arrow()

    def near(self, vector: NDArray[np.float32], limit: int, probes: int) -> list[tuple[int, float]]:
        """Numbers and cosines of about the most similar chunks, best first, by the index.

        `probes` is how many of its cells are read: more find more, and take longer.
        """
        search = self._opened().search(vector).distance_type("cosine").nprobes(probes)
        found = search.refine_factor(REFINED).limit(limit).select(["seq", "_distance"]).to_arrow()
        cosines = 1 - found["_distance"].to_numpy()
        return list(zip(found["seq"].to_pylist(), cosines.tolist(), strict=True))

    def words(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Numbers and BM25 scores of the chunks that share words with the query, best first."""
        table = self._opened()
        if table is None:
            return []
        import lancedb.query

        asked: Any = lancedb.query.MatchQuery  # its pydantic class hides its defaults from mypy
        search = table.search(asked(query, "text"), query_type="fts")
        found = search.limit(limit).select(["seq", "_score"]).to_arrow()
        return list(zip(found["seq"].to_pylist(), found["_score"].to_pylist(), strict=True))

    def text_of(self, file: str) -> list[Row]:
        """All chunks of a file, in their order."""
        table = self._opened()
        if table is None:
            return []
        found = table.search().where(f"file = '{file}'").select(list(COLUMNS)).to_arrow()
        return sorted(map(row_of, found.to_pylist()), key=lambda row: row.number)


def _matrix(vectors: Any) -> NDArray[np.float32]:  # noqa: ANN401
    """Lists of one length as rows (n, width)."""
    width: int = vectors.type.list_size
    flat: NDArray[np.float32] = vectors.flatten().to_numpy()
    return flat.reshape(-1, width)
