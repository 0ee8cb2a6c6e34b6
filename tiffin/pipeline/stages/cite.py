"""Cite: the citations of an answer that left without them."""

from tiffin.core.context import RequestContext
from tiffin.pipeline.citing import Citer
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage


class Cite(Stage):
    """Runs last, when the answer is written."""

    name = "cite"
    degraded = "citations"

    async def run(self, question: Question, _: RequestContext) -> None:
        """Cite what left without citations, because nothing was checked."""
        if not question.is_refused and not question.citations:
            question.citations = Citer(question.sources).cite(question.draft.text)
