"""Generate: the answer by the chosen tier, as a stream of events.

What is done when that fails, in this order: the cheapest tier if time is short before it begins
("smaller_tier"), another tier ("tier"), less evidence if it does not fit ("fewer_passages"), what
is written by the deadline ("short_answer"), and quotes if nothing is written ("generation", in
`tiffin.pipeline.answering`).
"""

from collections.abc import AsyncGenerator, Collection, Coroutine, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from models.values import GenerateRequest, TextDelta
from tiffin.config.resilience import StreamSettings
from tiffin.core.context import RequestContext
from tiffin.core.errors import (
    DeadlineExceeded,
    FieldTooLarge,
    Overloaded,
    TiffinError,
    Unavailable,
)
from tiffin.core.messages import RouteDecision
from tiffin.core.values import RagDelta, RagEvent, RagSources, RagStopped, Route
from tiffin.grounding.language import language_of, refusal
from tiffin.grounding.quote import quotable
from tiffin.pipeline.citing import Citer
from tiffin.pipeline.gate import SentenceGate
from tiffin.pipeline.generate import Begun, Generator
from tiffin.pipeline.prompt import rag_messages
from tiffin.pipeline.question import Question
from tiffin.pipeline.released import Release
from tiffin.pipeline.writing import Limits, pieces
from tiffin.safety.policy import NOTHING_CHECKED, Judge, Judges


class CheckedGate:
    """Of one answer. Without a policy it is the sentence gate alone."""

    def __init__(self, question: Question, judge: Judge | None) -> None:
        self._draft = question.draft
        self._gate = SentenceGate(question)
        self._release = None if judge is None else Release(judge, question.context)

    @property
    def stopped(self) -> bool:
        """Whether the policy has ended the answer."""
        return self._release is not None and self._release.stopped

    @property
    def ended(self) -> bool:
        """Whether nothing more leaves, whatever the model still writes."""
        return self.stopped or self._gate.ended

    @property
    def checks(self) -> bool:
        """Whether sentences are compared with the evidence."""
        return self._gate.checks

    @property
    def stopped_by(self) -> list[str]:
        """The checks that ended it."""
        return [] if self._release is None else list(self._release.checks)

    async def release(self, text: str) -> str:
        """Take in the next piece; returns what may leave now."""
        supported = self._gate.release(text)
        if self._release is None:
            return supported
        checked = self._release.finish if self._gate.checks else self._release.add
        return await self._left(checked(supported))

    async def finish(self) -> str:
        """The model has ended: what may leave of the rest."""
        supported = self._gate.finish()
        if self._release is None:
            return supported
        return await self._left(self._release.finish(supported))

    async def _left(self, checked: Coroutine[Any, Any, str]) -> str:
        """What is checked has left; the draft holds nothing else."""
        assert self._release is not None  # noqa: S101  asked before
        try:
            return await checked
        finally:
            self._draft.text = self._release.left


class Generate:
    """Asks a tier. `models` maps each tier to its model's name, the cheapest first.

    The tiers in `brief` read no more than what would be quoted, because a CPU reads slowly.
    `judges` hold what is written to the safety policy of the tenant.
    """

    def __init__(
        self,
        generator: Generator,
        models: Mapping[str, str],
        limits: StreamSettings,
        judges: Judges = NOTHING_CHECKED,
        brief: Collection[str] = (),
    ) -> None:
        self._generator = generator
        self._models = models
        self._brief = brief
        self._limits = limits
        self._judges = judges

    async def write(self, question: Question) -> AsyncGenerator[RagEvent, None]:
        """Yield RagSources and RagDeltas; the question's draft takes in what is released."""
        draft, decision = question.draft, self._in_time(question)
        limits = Limits.of(
            question.context,
            question.budget.until("generate"),
            self._limits,
            streamed=question.request.stream,
        )
        begun = await self._begin(question, decision, limits.put_on(question.context))
        draft.route = Route(tier=begun.tier, model=self._models[begun.tier], reason=decision.reason)
        if begun.tier != decision.tier:
            question.degraded.append("tier")
        gate = CheckedGate(question, self._judges.of(question.context.tenant))
        citer = Citer(question.sources) if gate.checks else None
        async with aclosing(pieces(begun.first, begun.rest, limits)) as events:
            yield RagSources(
                id=question.context.request_id, sources=question.sources, route=draft.route
            )
            async for piece in events:
                if isinstance(piece.event, TextDelta):
                    if text := await gate.release(piece.event.text):
                        yield _delta(question, text, citer)
                    if gate.ended:
                        break
                else:
                    draft.add(piece.event)
        if not gate.ended:
            draft.check_whole()
            if text := await gate.finish():
                yield _delta(question, text, citer)
        for event in _end(question, gate):
            yield event

    def can_be_quoted(self, question: Question, error: TiffinError) -> bool:
        """Whether quotes may stand for the answer. Raises the error if that would not be honest.

        A stream that has begun ends with its error. What is written by the deadline of a whole
        answer is a shorter answer. A tier that refuses because its queue is full is an overload,
        which the client must learn of; one that the request names has no substitute.
        """
        draft, request = question.draft, question.request
        if draft.text and request.stream:
            raise error
        if draft.text and isinstance(error, DeadlineExceeded):
            draft.cut_off(_prompt_chars(question))
            question.degraded.append("short_answer")
            return False
        overloaded = isinstance(error, Overloaded) and not isinstance(error, Unavailable)
        if overloaded or request.model in self._models:
            raise error
        return True

    def _in_time(self, question: Question) -> RouteDecision:
        """The cheapest tier in place of the chosen one if little time is left to write."""
        decision = question.decision
        assert decision is not None  # noqa: S101  the route stage ran before
        cheapest, request = next(iter(self._models)), question.request
        if request.model in self._models or decision.tier == cheapest:
            return decision
        if not question.budget.short("generate"):
            return decision
        question.degraded.append("smaller_tier")
        return replace(decision, tier=cheapest, fallbacks=[])

    async def _begin(
        self, question: Question, decision: RouteDecision, context: RequestContext
    ) -> Begun:
        """The answer that a tier began.

        What does not fit the model's context is left out, the least relevant first.
        """
        request = question.request
        texts = every = _texts(question, brief=decision.tier in self._brief)
        while True:
            prompt = GenerateRequest(
                messages=rag_messages(request.query, texts),
                max_tokens=question.max_tokens,
                temperature=request.temperature,
                seed=request.seed,
            )
            try:
                begun = await self._generator.begin(decision, prompt, context)
            except FieldTooLarge:
                if len(texts) == 1:
                    raise
                texts = texts[:-1]
            else:
                if len(texts) < len(every):
                    question.degraded.append("fewer_passages")
                    question.sources = question.sources[: len(texts)]
                return begun


def _delta(question: Question, text: str, citer: Citer | None) -> RagDelta:
    """What leaves now, with the citations of its sentences unless they were not checked."""
    answer = question.draft.text
    found = citer.cite(answer, len(answer) - len(text)) if citer else []
    question.citations += found
    return RagDelta(text=text, citations=found)


def _end(question: Question, gate: CheckedGate) -> Iterator[RagEvent]:
    """The last events of an answer that was not left to the model to end."""
    draft = question.draft
    if question.declined:
        yield _declined(question)
    if gate.stopped:
        draft.cut_off(_prompt_chars(question), "content_filter")
        yield RagStopped(checks=gate.stopped_by)
    elif draft.finish_reason is None:
        draft.cut_off(_prompt_chars(question), "stop")


def _declined(question: Question) -> RagDelta:
    """The refusal in the question's language in place of the model's own."""
    draft = question.draft
    draft.text = refusal(language_of(question.request.query))
    return RagDelta(text=draft.text)


def _prompt_chars(question: Question) -> int:
    """About how many characters the model read."""
    return len(question.request.query) + sum(len(one.text) for one in question.sources)


def _texts(question: Question, *, brief: bool) -> list[str]:
    """What the model reads, the most relevant first: the evidence, or without it the passages."""
    if question.evidence:
        chosen = quotable(question.evidence) if brief else question.evidence
        found = [(question.source_of(one.passage.index).title, one.text) for one in chosen]
    else:
        clean = {one.place: one.readable for one in question.candidates}
        found = [
            (source.title, clean[source.document, source.document_id, source.start])
            for source in question.sources
        ]
    return [f"{title}: {text}" if title else text for title, text in found]
