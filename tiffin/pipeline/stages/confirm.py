"""Confirm: a second opinion on whether the evidence answers, by an LLM that reads it.

Runs after `evidence` if `rag.confirm` names a tier, and only if the evidence alone does not settle
it. What the tier leans to is weighed with what the evidence says (`tiffin.grounding.confirmed`).
Without it, the evidence decides alone.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from models.values import GenerateRequest
from tiffin.core.context import RequestContext
from tiffin.grounding.confirmed import Confirmed, is_sure
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage
from tiffin.pipeline.yes_or_no import Example, Leans, yes_or_no

_TASK = "You check whether a text answers a question. Reply with Yes or No only."

_LAKE = "The lake is 12 metres deep. It lies in the north."
_LIBRARY = "Members may borrow five books for three weeks. A late book costs 20 cents a day."


class Confirm(Stage):
    """Asks for the opinion of a tier."""

    name = "confirm"
    degraded = "confirm"

    def __init__(self, opinion: Leans, budget_ms: float) -> None:
        super().__init__(budget_ms)
        self._opinion = opinion
        self._weights = Confirmed.load()

    async def run(self, question: Question, context: RequestContext) -> None:
        """Correct `probability`, and what is the least of it."""
        if not question.evidence or question.probability is None or is_sure(question.probability):
            return
        request = question_for(question.request.query, [one.text for one in question.evidence])
        whole = replace(context, deadline=question.context.deadline)
        said = await self._opinion.leaning(request, whole, context.deadline)
        probability = self._weights.probability(question.probability, said)
        question.judge(probability, self._weights.threshold(question.false_refusals))


def question_for(query: str, sentences: Sequence[str]) -> GenerateRequest:
    """What the tier reads."""
    return yes_or_no(_TASK, _EXAMPLES, _turn(" ".join(sentences), query))


def _turn(text: str, query: str) -> str:
    return f"Text: {text}\nQuestion: {query}"


_EXAMPLES = (
    Example(_turn(_LAKE, "How far down does the lake go?"), "Yes"),
    Example(_turn(_LAKE, "Who discovered the lake?"), "No"),
    Example(_turn(_LIBRARY, "What must I pay if I bring one back too late?"), "Yes"),
    Example(_turn(_LIBRARY, "What does membership cost?"), "No"),
)
