"""Finds the passages that answer: embed, vector search, rerank. Two hops, one after the other.

The query and all passages are embedded in one call. Without the embedding passages are found by the
words they share with the question, without the reranker the order of that search stands, and the
answer says so.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tiffin.clients import EmbeddingClient, RerankerClient
from tiffin.core.context import RequestContext
from tiffin.core.errors import DeadlineExceeded, Overloaded, UpstreamFailed
from tiffin.core.values import Document, Source
from tiffin.pipeline.budget import Budget
from tiffin.pipeline.lexical import overlap
from tiffin.pipeline.passages import Passage
from tiffin.telemetry.timeline import Timeline

Vector = NDArray[np.float32]

MIN_RELEVANCE = 0.05
"""A passage is left out when it scores below this share of the best one: what has nothing to do
with the question only leads the model astray."""

AWAY = (Overloaded, UpstreamFailed, DeadlineExceeded)
"""How a stage fails that has a substitute: it takes no more, it broke, it would not be in time."""


@dataclass(frozen=True)
class Retrieved:
    """The passages to answer from, best first, and what finding them cost."""

    sources: list[Source]
    embedding_tokens: int
    rerank_tokens: int
    degraded: list[str]


@dataclass(frozen=True)
class Retriever:
    """Retrieval over the documents of one request."""

    embedding: EmbeddingClient
    reranker: RerankerClient

    async def retrieve(
        self,
        query: str,
        documents: Sequence[Document],
        passages: Sequence[Passage],
        *,
        top_k: int,
        top_n: int,
        context: RequestContext,
        timeline: Timeline,
        budget: Budget,
        embedded: "asyncio.Future[Vector | None] | None" = None,
    ) -> Retrieved:
        """The up to `top_n` most relevant passages: `top_k` by similarity, reranked.

        `embedded` is given the query's vector as soon as there is one, for what runs beside; None
        where there will be none.
        """
        degraded: list[str] = []
        texts = [passage.text for passage in passages]
        with timeline.stage("embed"):
            within = replace(context, deadline=budget.until("embed"))
            try:
                vectors, embedding_tokens = await self.embedding.embed([query, *texts], within)
                similarity, asked = vectors[1:] @ vectors[0], vectors[0]
            except AWAY:
                similarity, asked, embedding_tokens = overlap(query, texts), None, 0
                degraded.append("embed")
        if embedded is not None:
            embedded.set_result(asked)
        with timeline.stage("search"):
            if budget.short("rerank") and top_n < top_k < len(texts):
                top_k = top_n
                degraded.append("fewer_candidates")
            kept = _best(similarity, top_k)
        with timeline.stage("rerank"):
            within = replace(context, deadline=budget.until("rerank"))
            try:
                logits, rerank_tokens = await self.reranker.score(
                    query, [texts[i] for i in kept], within
                )
                scores = _sigmoid(logits)
            except AWAY:
                scores, rerank_tokens = similarity[kept], 0
                degraded.append("rerank")
        order = _relevant(scores, _best(scores, top_n))
        sources = [
            _source(rank, documents, passages[kept[i]], scores[i], similarity[kept[i]])
            for rank, i in enumerate(order, start=1)
        ]
        return Retrieved(sources, embedding_tokens, rerank_tokens, degraded)


def _best(scores: NDArray[np.float32], count: int) -> list[int]:
    """Indices of the highest scores, best first; equal scores keep their order."""
    order: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return order


def _relevant(scores: NDArray[np.float32], order: list[int]) -> list[int]:
    """Those of the order, best first, that say something to the question; at least the best."""
    floor = MIN_RELEVANCE * float(scores[order[0]])
    return [order[0], *(i for i in order[1:] if scores[i] >= floor)]


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)


def _source(
    index: int, documents: Sequence[Document], passage: Passage, score: float, similarity: float
) -> Source:
    document = documents[passage.document]
    return Source(
        index=index,
        document=passage.document,
        document_id=document.id,
        title=document.title,
        text=passage.text,
        start=passage.start,
        end=passage.end,
        score=min(1.0, max(0.0, float(score))),
        similarity=min(1.0, max(0.0, float(similarity))),
    )
