"""The pipeline of one question: a list of stages. `tiffin.composition` composes it.

    split -> embed -> search -> rerank -> evidence -> refused, quoted or written -> cite
                  '-> route -------------------------^

Routing runs in parallel, and only if a model is to write; a tier may be asked to confirm the
evidence. Each stage has its share of the deadline and a substitute.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from tiffin.config.requests import RagSettings
from tiffin.core.context import Bill, CacheUse, RequestContext
from tiffin.core.errors import DeadlineExceeded, InvalidRequest
from tiffin.core.names import AUTO
from tiffin.core.values import Cost, Document, RagAnswer, RagEvent, RagRequest, Usage
from tiffin.pipeline.budget import Budget
from tiffin.pipeline.passages import split_documents
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage, Writer, run, traced
from tiffin.telemetry.timeline import Timeline


@dataclass(frozen=True)
class RagPipeline:
    """Answers questions. Holds no state of a request; safe for any number at once.

    `retrieval` runs in order, and then `recall`, which looks for a kept answer; `route` and `check`
    (of the question) run beside them. Then `writer`; then `closing`, in order.
    """

    retrieval: Sequence[Stage]
    route: Stage
    writer: Writer
    closing: Sequence[Stage]
    defaults: RagSettings
    rest_ms: float
    recall: Stage | None = None
    check: Stage | None = None

    @property
    def budgets_ms(self) -> dict[str, float]:
        """The budget of every stage, in the order in which they end."""
        before = (*self.retrieval, self.recall, self.route, self.check)
        stages: list[Stage | Writer | None] = [*before, self.writer, *self.closing]
        return {stage.name: stage.budget_ms for stage in stages if stage is not None}

    @property
    def reserved_share(self) -> float:
        """The share of a deadline that is kept for what comes after the answer is written."""
        reserved = sum(stage.budget_ms for stage in self.closing)
        return reserved / (sum(self.budgets_ms.values()) + self.rest_ms)

    async def stream(
        self, request: RagRequest, context: RequestContext
    ) -> AsyncGenerator[RagEvent, None]:
        """Yield RagSources, RagDeltas and last the RagAnswer. Closing it stops the work.

        Raises DeadlineExceeded, which names the stages that ran, when nothing can be answered.
        """
        question = self._opened(request, context)
        try:
            await self._find(question)
            async with aclosing(self.writer.stream(question)) as events:
                async for event in events:
                    yield event
            for stage in self.closing:
                await run(stage, question)
        except DeadlineExceeded as error:
            message = f"{error.message}; stages that ran: {question.timeline.ran() or 'none'}"
            raise DeadlineExceeded(message, code="deadline_exceeded") from error
        yield _answer(question)

    async def found(self, request: RagRequest, context: RequestContext) -> Question:
        """The question with its evidence and nothing kept or written."""
        question = self._opened(request, context)
        await self._retrieve(question)
        return question

    def _opened(self, request: RagRequest, context: RequestContext) -> Question:
        """The question with its defaults filled in and its documents split."""
        documents = [
            Document(text=item) if isinstance(item, str) else item for item in request.documents
        ]
        passages = split_documents(documents)
        if not passages and request.corpus is None:
            message = "documents: nothing but white space; send at least one with text"
            raise InvalidRequest(message, param="documents")
        defaults, wanted = self.defaults, request.false_refusals
        rate = defaults.false_refusals if wanted is None else wanted
        return Question(
            request=request,
            top_k=request.top_k or defaults.top_k,
            top_n=request.top_n or defaults.top_n,
            max_tokens=request.max_tokens or defaults.max_answer_tokens,
            grounding=request.grounding or defaults.grounding,
            false_refusals=rate,
            prefer=defaults.prefer if request.model == AUTO else "write",
            context=context,
            documents=documents,
            passages=passages,
            budget=Budget.of(context.deadline, self.budgets_ms, self.rest_ms),
            timeline=Timeline(),
            degraded=context.bill.degraded,
        )

    async def _find(self, question: Question) -> None:
        """Retrieve, route and check the question, side by side."""
        beside = [asyncio.create_task(self._route(question))]
        if self.check is not None:
            beside.append(asyncio.create_task(self._check(self.check, question)))
        try:
            await self._retrieve(question)
            _tell_kept(question)
            if self.recall is not None:
                await run(self.recall, question)
            for task in beside:
                await task
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _retrieve(self, question: Question) -> None:
        for stage in self.retrieval:
            await run(stage, question)

    async def _check(self, check: Stage, question: Question) -> None:
        await question.embedded.wait()
        with traced(check, question) as span, question.timeline.stage(check.name):
            await check.run(question, span.within(question.context))

    async def _route(self, question: Question) -> None:
        await question.embedded.wait()
        if not question.is_quoted:
            await run(self.route, question)


def _tell_kept(question: Question) -> None:
    """Say that the encoders had nothing to read, because all that they would say was kept."""
    read = question.embedding_tokens + question.rerank_tokens
    if read == 0 and question.vectors is not None and not question.degraded:
        bill = question.context.bill
        bill.cache = CacheUse("retrieval", bill.cache.id if bill.cache else "")


def _answer(question: Question) -> RagAnswer:
    draft, used = question.draft, question.draft.usage
    return RagAnswer(
        id=question.context.request_id,
        answer=draft.text,
        answered=question.answered,
        probability=None if question.probability is None else round(question.probability, 4),
        replaced=question.replaced,
        removed=question.removed,
        citations=question.citations,
        contradictions=question.contradictions,
        sources=question.sources,
        finish_reason=draft.finish_reason or "stop",
        usage=Usage(
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            total_tokens=used.prompt_tokens + used.completion_tokens,
            cached_tokens=used.cached_tokens,
            embedding_tokens=question.embedding_tokens,
            rerank_tokens=question.rerank_tokens,
        ),
        timings=question.timeline.timings(),
        route=draft.route,
        cost=_cost(question.context.bill),
        degraded=question.degraded,
        checks=question.context.checks,
    )


def _cost(bill: Bill) -> Cost:
    return Cost(
        usd=bill.usd,
        strongest_usd=bill.strongest_usd,
        attempts=len(bill.attempts),
        estimated=any(attempt.estimated for attempt in bill.attempts),
    )
