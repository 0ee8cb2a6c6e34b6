"""Chooses how a question is answered once its evidence is there: refused, quoted or written.

The last stage before the citations, and the one that writes to the client.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tiffin.core.errors import RECOVERABLE
from tiffin.core.values import RagDelta, RagEvent
from tiffin.pipeline.question import Question
from tiffin.pipeline.stages.generate import Generate
from tiffin.pipeline.stages.quote import quote, refuse


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
        if question.is_refused:
            for event in refuse(question):
                yield event
            return
        if question.is_quoted:
            for event in quote(question, "quotes the documents"):
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
