"""Chooses how a question is answered once its evidence is there.

It is refused, quoted, given a kept answer, or written. The last stage before the citations,
and the one that writes to the client.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

from tiffin.core.errors import RECOVERABLE
from tiffin.core.values import RagDelta, RagEvent, RagStopped
from tiffin.pipeline.question import Question
from tiffin.pipeline.released import Release
from tiffin.pipeline.stage import traced
from tiffin.pipeline.stages.generate import Generate
from tiffin.pipeline.stages.quote import quote, recalled, refuse
from tiffin.safety.policy import NOTHING_CHECKED, Judge, Judges


class Answer:
    """The writer of the pipeline. A tier that fails is replaced by quotes if that is honest."""

    name = "generate"

    def __init__(
        self, generate: Generate, budget_ms: float, judges: Judges = NOTHING_CHECKED
    ) -> None:
        self.budget_ms = budget_ms
        self._generate = generate
        self._judges = judges

    async def stream(self, question: Question) -> AsyncGenerator[RagEvent, None]:
        """Yield RagSources and RagDeltas; the question's draft takes in what is written."""
        with traced(self, question) as span, question.timeline.stage(self.name):
            asked, question.context = question.context, span.within(question.context)
            async with aclosing(self._events(question)) as events:
                async for event in events:
                    if isinstance(event, RagDelta):
                        question.timeline.first_token()
                    yield event
            question.context = asked

    async def _events(self, question: Question) -> AsyncGenerator[RagEvent, None]:
        ready = _without_model(question)
        if ready is not None:
            async for event in self._held(question, list(ready)):
                yield event
            return
        try:
            async with aclosing(self._generate.write(question)) as events:
                async for event in events:
                    yield event
        except RECOVERABLE as error:
            if self._generate.can_be_quoted(question, error):
                question.degraded.append("generation")
                async for event in self._held(question, list(quote(question, error.message))):
                    yield event

    async def _held(
        self, question: Question, events: Sequence[RagEvent]
    ) -> AsyncGenerator[RagEvent, None]:
        """The events of an answer that no model wrote, held to the safety policy."""
        judge = self._judges.of(question.context.tenant)
        if judge is not None and not question.is_refused:
            events = await quotes_held_to(judge, question, events)
        for event in events:
            yield event


def _without_model(question: Question) -> Iterator[RagEvent] | None:
    """The events of an answer for which no model is asked; None if one is to write it."""
    if question.is_refused:
        return refuse(question)
    if question.recalled is not None:
        return recalled(question, question.recalled)
    return quote(question, "quotes the documents") if question.is_quoted else None


async def quotes_held_to(
    judge: Judge, question: Question, events: Sequence[RagEvent]
) -> list[RagEvent]:
    """The events of a quoted answer after the policy: redacted, stopped, or as they are.

    Redacted text has other offsets, so that the citations are found anew.
    """
    draft, release = question.draft, Release(judge, question.context)
    text = await release.finish(draft.text)
    if text == draft.text:
        return list(events)
    draft.text, question.citations = text, []
    others = [event for event in events if not isinstance(event, RagDelta)]
    if release.stopped:
        draft.finish_reason = "content_filter"
        return [*others, RagStopped(checks=list(release.checks))]
    return [*others, RagDelta(text=text)]
