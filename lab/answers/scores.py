"""What the reranker and the embedder say of texts, kept so that nothing is computed twice."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.catalog import load_catalog
from models.engines.reading import Reading
from models.store import Store

RERANKER = "ms-marco-minilm-l-12-v2"
EMBEDDER = "all-minilm-l6-v2"
BATCH = 16
LAYERS = (8, 9)
"""How many of the reranker's twelve layers were run before its states are read. Of all of them the
ninth told answered questions from others best, in articles of the development part held out; the
eighth beside it adds a little."""

HIDDEN = 384
WIDTH = 1 + HIDDEN * len(LAYERS)


class Scores:
    """Both models behind a file of what they said. Each is loaded when it is first needed."""

    def __init__(self, path: Path, *, threads: int, store: Path | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._kept = sqlite3.connect(path, timeout=60)
        self._kept.execute("create table if not exists scores (key blob primary key, value blob)")
        self._threads = threads
        self._store = Store(store or Path("~/.cache/tiffin"))

    def logits(self, question: str, texts: Sequence[str]) -> list[float]:
        """The reranker's logit of each text for the question."""
        pairs = [(question, text) for text in texts]
        rows = self._rows(["\0".join(pair) for pair in pairs], pairs, lambda: self._reranker, 1)
        return [float(row[0]) for row in rows]

    def states(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Float32 (texts, 1 + 2 x hidden): the logit, and what a reading is made of."""
        pairs = [(question, text) for text in texts]
        names = ["\2".join(pair) for pair in pairs]
        return np.array(self._rows(names, pairs, lambda: self._reranker)).reshape(len(pairs), WIDTH)

    def cosines(self, question: str, texts: Sequence[str]) -> list[float]:
        """The cosine of each text's embedding with the question's."""
        whole = [question, *texts]
        asked, *others = self._rows([f"\1{text}" for text in whole], whole, lambda: self._embedder)
        return [float(asked @ other) for other in others]

    def _rows(
        self,
        names: Sequence[str],
        inputs: Sequence[Any],
        engine: Callable[[], Any],
        columns: int | None = None,
    ) -> list[NDArray[np.float32]]:
        """A row for each input, or its first columns: out of the file, or of the engine."""
        keys = [hashlib.sha256(name.encode()).digest() for name in names]
        known = {key: row for key in keys if (row := self._find(key)) is not None}
        missing = {key: item for key, item in zip(keys, inputs, strict=True) if key not in known}
        if missing:
            rows = dict(zip(missing, _run(engine(), list(missing.values())), strict=True))
            rows = {key: row[:columns] for key, row in rows.items()}
            found = [(key, row.tobytes()) for key, row in rows.items()]
            self._kept.executemany("insert or ignore into scores values (?, ?)", found)
            self._kept.commit()
            known |= rows
        return [known[key] for key in keys]

    def _find(self, key: bytes) -> NDArray[np.float32] | None:
        row = self._kept.execute("select value from scores where key = ?", (key,)).fetchone()
        return None if row is None else np.frombuffer(row[0], np.float32)

    @cached_property
    def _reranker(self) -> Any:  # noqa: ANN401  an engine is imported when it is needed
        from models.engines.openvino import CrossEncoderScorer

        whole, none = np.eye(HIDDEN, dtype=np.float32), np.zeros((HIDDEN, HIDDEN), np.float32)
        rows = {LAYERS[0]: np.vstack([whole, none]), LAYERS[1]: np.vstack([none, whole])}
        reading = Reading(rows, np.zeros(2 * HIDDEN, np.float32))
        return CrossEncoderScorer(self.reranker, threads=self._threads, reading=reading)

    @property
    def reranker(self) -> Path:
        """The folder of its weights."""
        return self._folder(RERANKER)

    @cached_property
    def _embedder(self) -> Any:  # noqa: ANN401
        from models.engines.encoders import embedder

        return embedder(self._folder(EMBEDDER), device="cpu", threads=self._threads)

    def _folder(self, name: str) -> Path:
        return self._store.pull(load_catalog().get(name))


def _run(engine: Any, inputs: list[Any]) -> Iterator[NDArray[np.float32]]:  # noqa: ANN401
    """The engine's rows in the order of the inputs, in batches of about the same length."""
    tokenized = engine.tokenize(inputs)
    order = sorted(range(len(inputs)), key=lambda index: tokenized[index].tokens)
    rows: dict[int, NDArray[np.float32]] = {}
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        rows.update(zip(batch, engine.run([tokenized[index] for index in batch]), strict=True))
    return (rows[index] for index in range(len(inputs)))
