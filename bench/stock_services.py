"""The RAG pipeline as BentoML's own documentation would have it built: the peer of `bench.whole`.

`depends()` between services, `batchable` encoders on sentence-transformers, and the same weights as
the laptop profile. The LLM runs on the engine that Tiffin uses, because BentoML has none for a CPU.
Served by `bench.peers` with `bentoml serve bench.stock_services:StockQuestion`.
"""

import asyncio
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
from numpy.typing import NDArray

from models.catalog import load_catalog
from models.store import Store
from tiffin.config.settings import load_settings

QUIET: dict[str, Any] = {"access": {"enabled": False}}
BEST = 2
"""Passages that the LLM sees, as many as the laptop profile gives it."""

settings = load_settings(profile="laptop")


def _weights(model: str) -> Path:
    return Store(settings.home).path(load_catalog().get(model))


@bentoml.service(name="StockEmbedding", logging=QUIET)
class StockEmbedding:
    """Texts to vectors."""

    def __init__(self) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(_weights(settings.embedding.model)), device="cpu")

    @bentoml.api(batchable=True)
    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Normalised vectors, shape [texts, 384], float32."""
        return self.model.encode(texts, normalize_embeddings=True)


@bentoml.service(name="StockReranker", logging=QUIET)
class StockReranker:
    """Pairs of question and text to scores."""

    def __init__(self) -> None:
        from sentence_transformers import CrossEncoder

        self.model = CrossEncoder(str(_weights(settings.reranker.model)), device="cpu")

    @bentoml.api(batchable=True)
    def score(self, pairs: list[list[str]]) -> NDArray[np.float32]:
        """One logit a pair, shape [pairs], float32."""
        return np.asarray(self.model.predict([(asked, text) for asked, text in pairs]))


@bentoml.service(name="StockLLM", logging=QUIET)
class StockLLM:
    """Writes, one answer a thread."""

    def __init__(self) -> None:
        import xllamacpp

        tier = settings.tiers["small"]
        folder = _weights(tier.model)
        params = xllamacpp.CommonParams()
        params.model.path = str(next(folder.glob("*.gguf")) if folder.is_dir() else folder)
        params.verbosity = -1
        params.n_parallel = tier.parallel
        params.n_ctx = tier.parallel * tier.context_tokens
        self.server = xllamacpp.Server(params)

    @bentoml.api
    async def write(self, prompt: str, max_tokens: int) -> str:
        """The most likely answer to one user's turn."""
        return await asyncio.to_thread(self._write, prompt, max_tokens)

    def _write(self, prompt: str, max_tokens: int) -> str:
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        answers: list[dict[str, Any]] = []
        self.server.handle_chat_completions(body, answers.append)
        return str(answers[-1]["choices"][0]["message"]["content"])


@bentoml.service(name="StockQuestion", logging=QUIET, traffic={"timeout": 120})
class StockQuestion:
    """Embeds, searches, reranks and writes, one after the other."""

    embedding = bentoml.depends(StockEmbedding)
    reranker = bentoml.depends(StockReranker)
    llm = bentoml.depends(StockLLM)

    @bentoml.api
    async def answer(self, query: str, documents: list[str], max_tokens: int) -> dict[str, Any]:
        """The answer and the numbers of the documents that it was written from."""
        vectors = await self.embedding.to_async.embed([query, *documents])
        near = np.argsort(-(vectors[1:] @ vectors[0]))[:10].tolist()
        scores = await self.reranker.to_async.score([[query, documents[n]] for n in near])
        best = [near[rank] for rank in np.argsort(-scores)[:BEST]]
        text = "\n\n".join(documents[number] for number in reversed(best))
        prompt = (
            f"{text}\n\nAnswer in one or two short sentences, using only the text above.\n"
            f"Question: {query}"
        )
        return {"answer": await self.llm.to_async.write(prompt, max_tokens), "documents": best}
