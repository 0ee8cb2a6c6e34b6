"""Confirm: a second opinion on whether the evidence answers, by an LLM that reads it.

Runs after `evidence` if `rag.confirm` names a tier, and only if the evidence alone does not settle
it. The tier is asked for one word, yes or no, and the probabilities of both are weighed with what
the evidence says (`tiffin.grounding.confirmed`). Without it, the evidence decides alone.
"""

import math
from collections.abc import Sequence
from contextlib import aclosing

from msgspec.structs import replace

from models.values import ChatMessage, GenerateRequest, TextDelta, TokenLogprob
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import InvalidRequest, UpstreamFailed
from tiffin.core.messages import RouteDecision
from tiffin.grounding.confirmed import Confirmed, is_sure
from tiffin.pipeline.first_token import TOP_TOKENS, YES_NO, shares_of
from tiffin.pipeline.generate import Generator
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage

LEAST_SHARE = 1e-4
"""What a word has that is not among the likeliest."""

_TASK = "You check whether a text answers a question. Reply with Yes or No only."

_LAKE = "The lake is 12 metres deep. It lies in the north."
_LIBRARY = "Members may borrow five books for three weeks. A late book costs 20 cents a day."
_EXAMPLES = (
    (_LAKE, "How far down does the lake go?", "Yes"),
    (_LAKE, "Who discovered the lake?", "No"),
    (_LIBRARY, "What must I pay if I bring one back too late?", "Yes"),
    (_LIBRARY, "What does membership cost?", "No"),
)


class Confirm(Stage):
    """`tier` tells the probabilities of its tokens."""

    name = "confirm"
    degraded = "confirm"

    def __init__(self, generator: Generator, tier: str, budget_ms: float) -> None:
        super().__init__(budget_ms)
        self._generator = generator
        self._decision = RouteDecision(tier, "reads the evidence", [])
        self._breaker = generator.failover.breaker(self.name)
        self._weights = Confirmed.load()

    async def run(self, question: Question, context: RequestContext) -> None:
        """Correct `probability`, and what is the least of it."""
        if not question.evidence or question.probability is None or is_sure(question.probability):
            return
        request = question_for(question.request.query, [one.text for one in question.evidence])
        whole = replace(context, deadline=question.context.deadline)
        said = leaning(await self._ask(request, whole, context.deadline))
        probability = self._weights.probability(question.probability, said)
        question.judge(probability, self._weights.threshold(question.false_refusals))

    async def _ask(
        self, request: GenerateRequest, context: RequestContext, until: Deadline
    ) -> list[TokenLogprob]:
        """The word, with its alternatives. It is on the bill, but it is not the answer.

        The tier is not blamed for being slower than this stage's budget: it may be in time to
        write.
        """
        async with self._breaker.bounded(until.remaining(), "the second opinion was late"):
            try:
                begun = await self._generator.begin(self._decision, request, context)
                events = [begun.first]
                async with aclosing(begun.rest) as rest:
                    events += [event async for event in rest]
            except InvalidRequest as error:  # of ours, not of the client's: too long, for instance
                raise UpstreamFailed(f"no second opinion: {error.message}") from error
        self._generator.meter.replaced(begun.running)
        return [one for event in events if isinstance(event, TextDelta) for one in event.logprobs]


def question_for(query: str, sentences: Sequence[str]) -> GenerateRequest:
    """What the tier reads: the task and its examples, which its cache keeps, then this question."""
    turns = [ChatMessage("system", _TASK)]
    for text, asked, answer in _EXAMPLES:
        turns += [_turn(text, asked), ChatMessage("assistant", answer)]
    return GenerateRequest(
        messages=[*turns, _turn(" ".join(sentences), query)],
        max_tokens=1,
        temperature=0.0,
        logprobs=TOP_TOKENS,
    )


def leaning(tokens: Sequence[TokenLogprob]) -> float:
    """How much likelier yes is than no as the first token, in logits."""
    yes, no = (share + LEAST_SHARE for share in shares_of(YES_NO, tokens))
    return math.log(yes / no)


def _turn(text: str, query: str) -> ChatMessage:
    return ChatMessage("user", f"Text: {text}\nQuestion: {query}")
