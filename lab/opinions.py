"""What an LLM on this machine leans to, yes or no, behind a file of what it said.

`lab.answers.confirmed` and `lab.cache.confirmed` ask it as the pipeline would. What it said is
kept, so that only the first run is slow.
"""

import hashlib
import sqlite3
from pathlib import Path

from models.catalog import load_catalog
from models.engines.llama_cpp import LlamaCppEngine
from models.store import Store
from models.values import GenerateRequest, TextDelta, TokenLogprob
from tiffin.pipeline.yes_or_no import leaning


class Opinions:
    """Of the model of that name, which llama.cpp runs."""

    def __init__(self, model: str, path: Path, threads: int) -> None:
        self._model, self._threads = model, threads
        self._kept = sqlite3.connect(path, timeout=60)
        self._kept.execute("create table if not exists said (key blob primary key, value real)")
        self._engine: LlamaCppEngine | None = None

    async def of(self, request: GenerateRequest) -> float:
        """How much likelier yes is than no, in logits."""
        text = "\0".join([self._model, *(turn.content for turn in request.messages)])
        key = hashlib.sha256(text.encode()).digest()
        if row := self._kept.execute("select value from said where key = ?", (key,)).fetchone():
            return float(row[0])
        tokens: list[TokenLogprob] = []
        async for event in (await self._started()).generate(request):
            if isinstance(event, TextDelta):
                tokens += event.logprobs
        value = leaning(tokens)
        self._kept.execute("insert or ignore into said values (?, ?)", (key, value))
        self._kept.commit()
        return value

    async def _started(self) -> LlamaCppEngine:
        if self._engine is None:
            folder = Store(Path("~/.cache/tiffin")).pull(load_catalog().get(self._model))
            file = next(folder.rglob("*.gguf"))
            self._engine = LlamaCppEngine(
                file, context_tokens=2048, parallel=1, threads=self._threads
            )
            await self._engine.start()
        return self._engine

    async def close(self) -> None:
        """Free the weights."""
        if self._engine is not None:
            await self._engine.close()
