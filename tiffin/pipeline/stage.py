"""What a stage of a question is, and how it is run. The stages themselves are in `stages/`.

A stage knows its own name, budget, work and substitute, and nothing of its neighbours: it reads
from the question and writes to it. Budgets, timings, metrics and the answer's `degraded` follow
from the list of stages that `tiffin.composition` composes. A stage that is not in the list reserves
no time.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Any, ClassVar, Protocol

from msgspec.structs import replace

from tiffin.core.context import RequestContext
from tiffin.core.errors import RECOVERABLE
from tiffin.core.values import RagEvent
from tiffin.pipeline.question import Question
from tiffin.telemetry import metrics, tracing


class Stage(ABC):
    """One step from the question to the answer.

    `budget_ms` is its share of the deadline (`tiffin.pipeline.budget`). `degraded` is what an
    answer says that was given without it.
    """

    name: ClassVar[str]
    degraded: ClassVar[str]

    def __init__(self, budget_ms: float) -> None:
        self.budget_ms = budget_ms

    @abstractmethod
    async def run(self, question: Question, context: RequestContext) -> None:
        """Do the work, within the context's deadline, and write the result to the question."""

    def attributes(self, _: Question) -> dict[str, Any]:
        """What its span says beside its budget, once it has run (`tiffin.telemetry.genai`)."""
        return {}

    def substitute(self, question: Question) -> None:  # noqa: B027  nothing, unless it says so
        """Do what stands in for the work when its service is away or late."""


class Writer(Protocol):
    """The stage that writes the answer to the client, event by event."""

    @property
    def name(self) -> str:
        """Its name in budgets and timings."""
        ...

    @property
    def budget_ms(self) -> float:
        """Its share of the deadline."""
        ...

    def stream(self, question: Question) -> AsyncGenerator[RagEvent, None]:
        """Yield the events; closing it stops the work. Raises TiffinError."""
        ...


async def run(stage: Stage, question: Question) -> None:
    """Run a stage within its budget, or its substitute if it is late or the service is away."""
    until = question.budget.until(stage.name)
    with traced(stage, question) as span, question.timeline.stage(stage.name):
        context = replace(span.within(question.context), deadline=until)
        try:
            await stage.run(question, context)
        except RECOVERABLE as error:
            metrics.series(metrics.stage_failures_total, stage.name, error.type).inc()
            span.fail(error.type)
            stage.substitute(question)
            question.degraded.append(stage.degraded)
        if span:
            span.tell(stage.attributes(question))


def traced(stage: Stage | Writer, question: Question) -> tracing.Off:
    """The span of a stage: its share of the deadline, and the time it may take at most."""
    context, name = question.context, stage.name
    most_s = question.budget.until(name).remaining() if tracing.is_on() else 0.0
    budget = {"tiffin.stage.budget_ms": stage.budget_ms, "tiffin.stage.most_ms": most_s * 1000}
    return tracing.span(name, context.traceparent, values=budget)
