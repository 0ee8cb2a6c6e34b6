"""Generate: the answer by the chosen tier, as a stream of events.

What is done when that fails, in this order: the cheapest tier if time is short before it begins
("smaller_tier"), another tier ("tier"), fewer passages if they do not fit ("fewer_passages"), what
is written by the deadline ("short_answer"), and the sentences found if nothing is written
("generation").
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from msgspec.structs import replace

from models.values import GenerateRequest, TextDelta
from tiffin.config.resilience import StreamSettings
from tiffin.core.context import RequestContext
from tiffin.core.errors import (
    RECOVERABLE,
    DeadlineExceeded,
    FieldTooLarge,
    Overloaded,
    TiffinError,
    Unavailable,
)
from tiffin.core.messages import RouteDecision
from tiffin.core.values import RagDelta, RagEvent, RagSources, Route
from tiffin.pipeline.generate import Begun, Generator
from tiffin.pipeline.prompt import rag_messages
from tiffin.pipeline.question import Question
from tiffin.pipeline.writing import Limits, pieces


class Generate:
    """The one stage that writes to the client. `models` maps each tier to its model's name."""

    name = "generate"

    def __init__(
        self,
        generator: Generator,
        models: Mapping[str, str],
        limits: StreamSettings,
        budget_ms: float,
    ) -> None:
        self.budget_ms = budget_ms
        self._generator = generator
        self._models = models
        self._limits = limits

    async def stream(self, question: Question) -> AsyncGenerator[RagEvent, None]:
        """Yield RagSources and RagDeltas; the question's draft takes in what is written."""
        with question.timeline.stage(self.name):
            try:
                async with aclosing(self._write(question)) as events:
                    async for event in events:
                        if isinstance(event, RagDelta):
                            question.timeline.first_token()
                        yield event
            except RECOVERABLE as error:
                for event in self.substitute(question, error):
                    question.timeline.first_token()
                    yield event

    def substitute(self, question: Question, error: TiffinError) -> list[RagEvent]:
        """Make the draft whole without the model. Raises the error if that would not be honest.

        A stream that has begun ends with its error. What is written by the deadline of a whole
        answer is a shorter answer. A tier that refuses because its queue is full is an overload,
        which the client must learn of; one that the request names has no substitute.
        """
        draft, request = question.draft, question.request
        if draft.text and request.stream:
            raise error
        if draft.text and isinstance(error, DeadlineExceeded):
            draft.cut_off(len(request.query) + sum(len(one.text) for one in question.sources))
            question.degraded.append("short_answer")
            return []
        overloaded = isinstance(error, Overloaded) and not isinstance(error, Unavailable)
        if overloaded or request.model in self._models:
            raise error
        draft.quote(request.query, question.sources, error.message)
        question.degraded.append("generation")
        return [_sources_of(question), RagDelta(text=draft.text)]

    async def _write(self, question: Question) -> AsyncGenerator[RagEvent, None]:
        """The tier's events as ours."""
        draft, decision = question.draft, self._in_time(question)
        limits = Limits.of(
            question.context,
            question.budget.until(self.name),
            self._limits,
            streamed=question.request.stream,
        )
        begun = await self._begin(question, decision, limits.put_on(question.context))
        draft.route = Route(tier=begun.tier, model=self._models[begun.tier], reason=decision.reason)
        if begun.tier != decision.tier:
            question.degraded.append("tier")
        async with aclosing(pieces(begun.first, begun.rest, limits)) as events:
            yield _sources_of(question)
            async for piece in events:
                draft.add(piece.event)
                if isinstance(piece.event, TextDelta):
                    yield RagDelta(text=piece.event.text)
        draft.check_whole()

    def _in_time(self, question: Question) -> RouteDecision:
        """The cheapest tier in place of the chosen one if little time is left to write."""
        decision = question.decision
        assert decision is not None  # noqa: S101  the route stage ran before
        cheapest, request = next(iter(self._models)), question.request
        if request.model in self._models or decision.tier == cheapest:
            return decision
        if not question.budget.short(self.name):
            return decision
        question.degraded.append("smaller_tier")
        return replace(decision, tier=cheapest, fallbacks=[])

    async def _begin(
        self, question: Question, decision: RouteDecision, context: RequestContext
    ) -> Begun:
        """The answer that a tier began.

        Passages that do not fit the model's context are left out, the least relevant first.
        """
        request, all_sources = question.request, question.sources
        while True:
            prompt = GenerateRequest(
                messages=rag_messages(request.query, question.sources),
                max_tokens=question.max_tokens,
                temperature=request.temperature,
                seed=request.seed,
            )
            try:
                begun = await self._generator.begin(decision, prompt, context)
            except FieldTooLarge:
                if len(question.sources) == 1:
                    raise
                question.sources = question.sources[:-1]
            else:
                if len(question.sources) < len(all_sources):
                    question.degraded.append("fewer_passages")
                return begun


def _sources_of(question: Question) -> RagSources:
    return RagSources(
        id=question.context.request_id, sources=question.sources, route=question.draft.route
    )
