"""Embed: the question and the passages given with it, in one call of the Embedding service."""

from tiffin.cache.vectors import Embeds
from tiffin.core.context import RequestContext
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage


class Embed(Stage):
    """Without the embedding, the search goes by the words that passages share with the question."""

    name = "embed"
    degraded = "embed"

    def __init__(self, embedding: Embeds, budget_ms: float) -> None:
        super().__init__(budget_ms)
        self._embedding = embedding

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write `vectors` and their cost."""
        texts = [question.request.query, *(passage.text for passage in question.passages)]
        try:
            question.vectors, question.embedding_tokens = await self._embedding.embed(
                texts, context
            )
        finally:
            question.embedded.set()
