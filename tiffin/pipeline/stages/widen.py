"""Widen: the passages that were left out after all, if none of the others is relevant.

Words find the right passage among many in most questions and at little cost. A question in other
words than its passage's is found by meaning alone, for which every passage has to be embedded.
"""

from tiffin.cache.relevance import Reranks
from tiffin.cache.vectors import Embeds
from tiffin.core.context import RequestContext
from tiffin.core.scores import best_first
from tiffin.pipeline.question import Candidate, Question
from tiffin.pipeline.stage import Stage
from tiffin.pipeline.stages.rerank import sources_of

RELEVANT = 0.0
"""The reranker's logit from which on a passage is relevant: it is then as likely as not."""


class Widen(Stage):
    """Without it, the passages that share most words with the question stand.

    It has no budget of its own: it uses what the stages before it left over.
    """

    name = "widen"
    degraded = "widen"

    def __init__(self, embedding: Embeds, reranker: Reranks) -> None:
        super().__init__(0)
        self._embedding = embedding
        self._reranker = reranker

    async def run(self, question: Question, context: RequestContext) -> None:
        """Add the best of `left_out` to `candidates`, `logits` and `sources`, and their cost."""
        if question.vectors is None or not question.logits or not question.left_out:
            return
        if max(question.logits) >= RELEVANT:
            return
        query = question.request.query
        texts = [query, *(passage.text for passage in question.left_out)]
        vectors, embedded = await self._embedding.embed(texts, context)
        question.embedding_tokens += embedded
        similarity = vectors[1:] @ vectors[0]
        least = min(item.similarity for item in question.candidates)
        found = [
            Candidate(passage, question.documents[passage.document or 0], float(similarity[index]))
            for index in best_first(similarity, question.top_k)
            if similarity[index] > least and (passage := question.left_out[index])
        ]
        if not found:
            return
        logits, read = await self._reranker.score(
            query, [item.passage.text for item in found], context
        )
        question.rerank_tokens += read
        question.candidates += found
        question.logits += logits.tolist()
        question.sources = sources_of(question)
