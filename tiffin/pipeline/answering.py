"""Chooses how a question is answered once its evidence is there.

It is refused, quoted, given a kept answer, or written. The last stage before the citations,
and the one that writes to the client.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from tiffin.core.errors import RECOVERABLE
from tiffin.core.values import RagDelta, RagEvent
from tiffin.pipeline.question import Question
from tiffin.pipeline.stages.generate import Generate
from tiffin.pipeline.stages.quote import quote, recalled, refuse


class Answer:
    """The writer of the pipeline. A tier that fails is replaced by quotes if that is honest."""

    name = "generate"

    def __init__(self, generate: Generate, budget_ms: float) -> None:
        self.budget_ms = budget_ms
        self._generate = generate

    async def stream(self, question: Question) -> AsyncGenerator[RagEvent, None]:
        """Yield RagSources and RagDeltas; the question's draft takes in what is written."""
        with question.timeline.stage(self.name):
            async with aclosing(self._events(question)) as events:
                async for event in events:
                    if isinstance(event, RagDelta):
                        question.timeline.first_token()
                    yield event

    async def _events(self, question: Question) -> AsyncGenerator[RagEvent, None]:
        ready = _without_model(question)
        if ready is not None:
            for event in ready:
                yield event
            return
        try:
            async with aclosing(self._generate.write(question)) as events:
                async for event in events:
                    yield event
        except RECOVERABLE as error:
            if self._generate.can_be_quoted(question, error):
                question.degraded.append("generation")
                for event in quote(question, error.message):
                    yield event


def _without_model(question: Question) -> Iterator[RagEvent] | None:
    """The events of an answer for which no model is asked; None if one is to write it."""
    if question.is_refused:
        return refuse(question)
    if question.recalled is not None:
        return recalled(question, question.recalled)
    return quote(question, "quotes the documents") if question.is_quoted else None
