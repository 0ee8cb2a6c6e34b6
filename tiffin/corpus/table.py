"""The chunks of one corpus on disk: a LanceDB table, under the rules that its users paid for.

- One writer at a time, in any process: `writing()` takes the table's file lock.
- Readers ask for the newest version each time (`read_consistency_interval` 0).
- Nothing is merged in place: a file's chunks are deleted and appended anew, and a chunk counts only
  if `records.py` says that its file is complete.
- It never compacts by itself: `compact` does, and keeps old versions for longer than any search.
- LanceDB is imported by the first corpus, not before: that takes a second and 130 MB.

Everything here blocks; `search.py` and `ingest.py` call it in threads.
"""

import os
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from tiffin.corpus.document import Chunk

KEEP_VERSIONS = timedelta(minutes=10)
"""How long a version that was replaced stays on disk for the searches that read it."""

LANCE_THREADS = "2"
MAX_FRAGMENTS = 16
"""Appends after which a table is compacted."""
COLUMNS = ("seq", "file", "number", "start", "end", "page", "headings", "text", "skip")


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


@dataclass(frozen=True)
class Health:
    """What the store says of a table: rows, those that the word index lacks, and its pieces."""

    chunks: int
    unindexed: int
    fragments: int
    version: int


def lance() -> Any:  # noqa: ANN401  LanceDB carries no types
    """The LanceDB module, with as many threads as it may take."""
    os.environ.setdefault("LANCE_CPU_THREADS", LANCE_THREADS)
    # uvloop forks to start the parser, which then runs another program and never Lance.
    warnings.filterwarnings("ignore", message="lancedb fork support", category=RuntimeWarning)
    import lancedb

    return lancedb


def connect(folder: Path) -> Any:  # noqa: ANN401
    """A connection whose tables are always read in their newest version."""
    return lance().connect(str(folder), read_consistency_interval=timedelta(0))


class Table:
    """The table of one corpus, made when it is first written."""

    def __init__(self, connection: Any, name: str, locks: Path) -> None:  # noqa: ANN401
        self._connection = connection
        self._name = name
        self._lock = FileLock(locks / f"{name}.lock", thread_local=False)
        self._table: Any = None

    @contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Be the only writer for the block. Raises filelock.Timeout if another process is."""
        with self._lock.acquire(blocking=False):
            yield

    def _opened(self) -> Any:  # noqa: ANN401
        """The table, or None while nothing was written."""
        if self._table is None:
            try:
                self._table = self._connection.open_table(self._name)
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
        data = _arrow(chunks, vectors, first)
        table = self._opened()
        if table is None:
            self._table = table = self._connection.create_table(self._name, schema=data.schema)
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
            self._connection.drop_table(self._name)
        self._table = None

    def compact(self) -> None:
        """Merge the pieces, bring the word index up to date, and forget old versions."""
        table = self._opened()
        if table is None:
            return
        if not table.list_indices():
            from lancedb.index import FTS

            # Positions would serve phrases only, and break merges (lance#7653).
            table.create_index("text", config=FTS(with_position=False, base_tokenizer="icu"))
        table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def health(self) -> Health:
        """How the table is. Reads no chunk."""
        table = self._opened()
        if table is None:
            return Health(0, 0, 0, 0)
        statistics = table.stats()
        rows = int(statistics["num_rows"])
        indexed = table.index_stats("text_idx") if table.list_indices() else None
        return Health(
            chunks=rows,
            unindexed=rows if indexed is None else int(indexed.num_unindexed_rows),
            fragments=int(statistics["fragment_stats"]["num_fragments"]),
            version=int(table.version),
        )

    def ids(self) -> tuple[NDArray[np.int64], NDArray[np.uint64], list[str]]:
        """Of every chunk: its number, its place in the table's version, and its file."""
        table = self._opened()
        if table is None:
            return np.empty(0, np.int64), np.empty(0, np.uint64), []
        rows = table.search().select(["seq", "file"]).with_row_id(with_row_id=True).to_arrow()
        return rows["seq"].to_numpy(), rows["_rowid"].to_numpy(), rows["file"].to_pylist()

    def vectors_after(self, seq: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The numbers (n,) and vectors (n, width) of the chunks with a higher number."""
        table = self._opened()
        if table is None:
            return np.empty(0, np.int64), np.empty((0, 0), np.float32)
        rows = table.search().where(f"seq > {seq}").select(["seq", "vector"]).to_arrow()
        flat = rows["vector"].combine_chunks().flatten().to_numpy()
        width = rows.schema.field("vector").type.list_size
        return rows["seq"].to_numpy(), flat.reshape(rows.num_rows, width)

    def rows(self, places: Sequence[int]) -> dict[int, Row]:
        """The chunks at these places, by number. One that has moved since is missing."""
        if not places:
            return {}
        found = self._opened().take_row_ids(list(places)).select(list(COLUMNS)).to_arrow()
        return {row.seq: row for row in map(_row, found.to_pylist())}

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
        return sorted(map(_row, found.to_pylist()), key=lambda row: row.number)


def searched_text(chunk: Chunk) -> tuple[str, int]:
    """What a chunk is embedded and indexed as, its headings first; and the length of those."""
    above = [title for title in chunk.headings if title not in chunk.text]
    if not above:
        return chunk.text, 0
    prefix = " > ".join(above) + "\n"
    return prefix + chunk.text, len(prefix)


def _row(fields: dict[str, Any]) -> Row:
    return Row(**{**fields, "headings": tuple(fields["headings"])})


def _arrow(chunks: Mapping[str, Sequence[Chunk]], vectors: NDArray[np.float32], first: int) -> Any:  # noqa: ANN401
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
