"""Embed: the question and the passages given with it, in one call of the Embedding service.

Many passages are first narrowed to those that share most words with the question, because to embed
them all takes most of the time of an answer.
"""

import asyncio
from typing import Any

import numpy as np

from tiffin.cache.vectors import Embeds
from tiffin.core.context import RequestContext
from tiffin.pipeline.lexical import narrowed
from tiffin.pipeline.passages import Passage, halved
from tiffin.pipeline.question import Question, Vector
from tiffin.pipeline.stage import Stage
from tiffin.telemetry import genai

LEAST_CHARS = 32
"""A passage this short is never cut, whatever the service says: no model reads so few."""

MOST_EMBEDDED = 24
"""Passages of 150 tokens that two cores embed in about 0.3 s."""


class Embed(Stage):
    """Without the embedding, the search goes by the words that passages share with the question.

    A passage that the model did not read to its end is cut in two, in one more call for all such,
    until the model has read everything.
    """

    name = "embed"
    degraded = "embed"

    def __init__(self, embedding: Embeds, budget_ms: float) -> None:
        super().__init__(budget_ms)
        self._embedding = embedding

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write `vectors` and their cost; `passages`, if some were too long; and `left_out`."""
        query, most = question.request.query, max(MOST_EMBEDDED, 2 * question.top_k)
        try:
            if len(question.passages) > most:
                question.passages, question.left_out = await asyncio.to_thread(
                    narrowed, query, question.passages, most
                )
            await self._read(question, context)
        finally:
            question.embedded.set()

    def attributes(self, question: Question) -> dict[str, Any]:
        """Embeddings, by the conventions."""
        return genai.embeddings(question.embedding_tokens)

    async def _read(self, question: Question, context: RequestContext) -> None:
        texts = [question.request.query, *(passage.text for passage in question.passages)]
        first = await self._embedding.encode(texts, context)
        question.embedding_tokens += first.tokens
        vectors, passages = first.rows[1:], list(question.passages)
        unread = _too_long(passages, [index - 1 for index in first.cut if index])
        while unread:
            passages, kept, new = _without_unread(passages, unread)
            more = await self._embedding.encode([passages[i].text for i in new], context)
            question.embedding_tokens += more.tokens
            vectors = _joined(vectors, kept, more.rows, new)
            unread = _too_long(passages, [new[index] for index in more.cut])
        question.passages = passages
        question.vectors = np.concatenate([first.rows[:1], vectors])


def _too_long(passages: list[Passage], cut: list[int]) -> frozenset[int]:
    return frozenset(i for i in cut if len(passages[i].text) > LEAST_CHARS)


def _without_unread(
    passages: list[Passage], unread: frozenset[int]
) -> tuple[list[Passage], list[tuple[int, int]], list[int]]:
    """The passages with the halves of those in `unread`.

    Also the old and the new position of the others, and the positions of the halves.
    """
    found: list[Passage] = []
    kept: list[tuple[int, int]] = []
    new: list[int] = []
    for number, passage in enumerate(passages):
        if number not in unread:
            kept.append((number, len(found)))
            found.append(passage)
            continue
        halves = halved(passage)
        new += range(len(found), len(found) + len(halves))
        found += halves
    return found, kept, new


def _joined(old: Vector, kept: list[tuple[int, int]], rows: Vector, new: list[int]) -> Vector:
    joined = np.empty((len(kept) + len(new), rows.shape[1]), np.float32)
    if kept:
        before, after = zip(*kept, strict=True)
        joined[list(after)] = old[list(before)]
    joined[new] = rows
    return joined
