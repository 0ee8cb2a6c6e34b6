"""Embed: the question and the passages given with it, in one call of the Embedding service.

Many passages are first narrowed to those that share most words with the question, because to embed
them all takes most of the time of an answer.
"""

import asyncio

from tiffin.clients import EmbeddingClient
from tiffin.core.context import RequestContext
from tiffin.pipeline.lexical import narrowed
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage


class Embed(Stage):
    """Without the embedding, the search goes by the words that passages share with the question."""

    name = "embed"
    degraded = "embed"

    def __init__(self, embedding: EmbeddingClient, budget_ms: float) -> None:
        super().__init__(budget_ms)
        self._embedding = embedding

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write `vectors` and their cost, and leave out `passages` that are not worth it."""
        query = question.request.query
        try:
            question.passages = await asyncio.to_thread(narrowed, query, question.passages)
            texts = [query, *(passage.text for passage in question.passages)]
            question.vectors, question.embedding_tokens = await self._embedding.embed(
                texts, context
            )
        finally:
            question.embedded.set()
