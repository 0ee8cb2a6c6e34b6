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
from models.store import Store

RERANKER = "ms-marco-minilm-l-12-v2"
EMBEDDER = "all-minilm-l6-v2"
BATCH = 16


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
        rows = self._rows(["\0".join(pair) for pair in pairs], pairs, lambda: self._reranker)
        return [float(row[0]) for row in rows]

    def cosines(self, question: str, texts: Sequence[str]) -> list[float]:
        """The cosine of each text's embedding with the question's."""
        whole = [question, *texts]
        asked, *others = self._rows([f"\1{text}" for text in whole], whole, lambda: self._embedder)
        return [float(asked @ other) for other in others]

    def _rows(
        self, names: Sequence[str], inputs: Sequence[Any], engine: Callable[[], Any]
    ) -> list[NDArray[np.float32]]:
        keys = [hashlib.sha256(name.encode()).digest() for name in names]
        known = {key: row for key in keys if (row := self._find(key)) is not None}
        missing = {key: item for key, item in zip(keys, inputs, strict=True) if key not in known}
        if missing:
            rows = dict(zip(missing, _run(engine(), list(missing.values())), strict=True))
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
        from models.engines.encoders import scorer

        return scorer(self._folder(RERANKER), device="cpu", threads=self._threads)

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
