"""Rerank: the candidates in order of relevance, by the Reranker service's cross-encoder."""

from collections.abc import Sequence

import numpy as np

from tiffin.cache.relevance import Reranks
from tiffin.core.context import RequestContext
from tiffin.core.scores import best_first, sigmoid
from tiffin.core.values import Source
from tiffin.grounding.language import Readers
from tiffin.pipeline.question import Question, as_source, relevance
from tiffin.pipeline.stage import Stage

MIN_RELEVANCE = 0.05
"""A passage that scores below this share of the best one is left out: what has nothing to do with
the question only leads the model astray."""


class Rerank(Stage):
    """Without the reranker, the order of the search stands.

    So it does in a language that the embedder reads and the reranker does not.

    With little time left, only as many candidates are scored as the model will read.
    """

    name = "rerank"
    degraded = "rerank"

    def __init__(self, reranker: Reranks, budget_ms: float, readers: Readers) -> None:
        super().__init__(budget_ms)
        self._reranker = reranker
        self._readers = readers

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write the up to `top_n` most relevant sources, best first, and what scoring cost."""
        if not question.candidates:
            return
        if question.vectors is not None and self._readers.only_embedder(*question.languages()):
            self.substitute(question)
            return
        if question.budget.short(self.name) and question.top_n < len(question.candidates):
            question.candidates = question.candidates[: question.top_n]
            question.degraded.append("fewer_candidates")
        texts = [candidate.passage.text for candidate in question.candidates]
        query = question.request.query
        logits, question.rerank_tokens = await self._reranker.score(query, texts, context)
        question.logits = logits.tolist()
        _drop(question, [relevance(logit) for logit in question.logits])
        question.sources = sources_of(question)

    def substitute(self, question: Question) -> None:
        """Let the candidates' similarity be their relevance."""
        _drop(question, [candidate.similarity for candidate in question.candidates])
        question.sources = sources_of(question)


def _drop(question: Question, scores: Sequence[float]) -> None:
    """Leave out the candidates that score less, or are more, than the request allows."""
    ranking, most = question.request.ranking_options, question.request.max_results
    least = ranking.score_threshold if ranking else 0.0
    best = best_first(np.asarray(scores), most or len(scores))
    kept = sorted(int(i) for i in best if scores[i] >= least)
    if len(kept) == len(scores):
        return
    question.candidates = [question.candidates[i] for i in kept]
    if question.logits is not None:
        question.logits = [question.logits[i] for i in kept]
    if not kept:
        question.probability = 0.0


def sources_of(question: Question) -> list[Source]:
    """The up to `top_n` candidates with the best scores from 0 to 1, without the irrelevant."""
    if not question.candidates:
        return []
    if question.logits is None:
        scores = [candidate.similarity for candidate in question.candidates]
    else:
        scores = sigmoid(np.array(question.logits)).tolist()
    order = best_first(np.asarray(scores), question.top_n)
    floor = MIN_RELEVANCE * scores[order[0]]
    relevant = [order[0], *(i for i in order[1:] if scores[i] >= floor)]
    return [
        as_source(rank, question.candidates[i], scores[i])
        for rank, i in enumerate(relevant, start=1)
    ]
