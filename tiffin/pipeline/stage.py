"""What a stage of a question is, and how it is run. The stages themselves are in `stages/`.

A stage knows its own name, budget, work and substitute, and nothing of its neighbours: it reads
from the question and writes to it. Budgets, timings, metrics and the answer's `degraded` follow
from the list of stages that `tiffin.gateway` composes. A stage that is not in the list reserves no
time.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import ClassVar, Protocol

from msgspec.structs import replace

from tiffin.core.context import RequestContext
from tiffin.core.errors import RECOVERABLE
from tiffin.core.values import RagEvent
from tiffin.pipeline.question import Question


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
    context = replace(question.context, deadline=question.budget.until(stage.name))
    with question.timeline.stage(stage.name):
        try:
            await stage.run(question, context)
        except RECOVERABLE:
            stage.substitute(question)
            question.degraded.append(stage.degraded)
