"""Search: the passages that are most similar to the question."""

from tiffin.core.context import RequestContext
from tiffin.core.scores import best_first
from tiffin.pipeline.lexical import overlap
from tiffin.pipeline.passages import distinct
from tiffin.pipeline.question import Candidate, Question
from tiffin.pipeline.stage import Stage


class Search(Stage):
    """Exact, over the passages of the request: by cosine similarity, or by shared words.

    Passages with the same words count once, so that they take no place from others.
    """

    name = "search"
    degraded = "search"

    async def run(self, question: Question, _: RequestContext) -> None:
        """Write the `top_k` best candidates, best first."""
        vectors, passages = question.vectors, question.passages
        if vectors is None:
            similarity = overlap(question.request.query, [passage.text for passage in passages])
        else:
            similarity = vectors[1:] @ vectors[0]
        question.candidates = [
            Candidate(passages[i], question.documents[passages[i].document], float(similarity[i]))
            for i in distinct(passages, best_first(similarity), question.top_k)
        ]
