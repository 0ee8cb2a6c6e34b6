"""Settings of what keeps the stack up: budgets, stream limits, admission and supervision.

The budgets are shares of a request's deadline: they are given in milliseconds of the default
deadline of 5 s and scale with the deadline.
"""

from typing import Annotated

from pydantic import Field

from tiffin.config.section import Section

Milliseconds = Annotated[int, Field(ge=1, le=600_000)]


class BudgetSettings(Section):
    """How a deadline is split among the stages. The numbers are ratios, written as milliseconds."""

    embed_ms: Milliseconds = 50
    """Embedding of query and passages."""
    search_ms: Milliseconds = 20
    """Vector search."""
    rerank_ms: Milliseconds = 200
    """Reranking."""
    evidence_ms: Milliseconds = 300
    """Scoring of sentences."""
    confirm_ms: Milliseconds = 1000
    """The opinion of a tier, for `rag.confirm` and for `cache.confirm`."""
    generate_ms: Milliseconds = 3000
    """The answer, or its first token."""
    cite_ms: Milliseconds = 50
    """The passage behind each sentence."""
    rest_ms: Milliseconds = 1380
    """Slack that any stage may use, first come, first served."""


class StreamSettings(Section):
    """Limits of a stream, which may run longer than a request's default deadline."""

    first_token_ms: Milliseconds = 300_000
    """Longest time from the request to the first text."""
    gap_ms: Milliseconds = 10_000
    """Longest time between two pieces of text."""
    total_ms: Milliseconds = 300_000
    """Longest stream, unless the request sets a deadline."""


class AdmissionSettings(Section):
    """The admission queue: how many requests are in flight, how many wait, and who goes first."""

    min_in_work: Annotated[int, Field(ge=1)] = 2
    """The adaptive limit never falls below this."""
    max_waiting: Annotated[int, Field(ge=0)] = 64
    """Requests that may wait in a queue; more are refused."""
    max_wait_ms: Milliseconds = 2000
    """Longest wait in the queue; then the request is refused."""
    batch_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the slots that batch requests may take."""


class SupervisionSettings(Section):
    """How the supervisor watches the processes that it started."""

    tick_ms: Milliseconds = 250
    """How often processes are checked."""
    stopped_after_ms: Milliseconds = 1000
    """A stopped process (SIGSTOP) is replaced after this."""
    hung_after_ms: Milliseconds = 4000
    """A process whose event loop does not run for this long is replaced."""
    start_limit_s: Annotated[int, Field(ge=1, le=86_400)] = 900
    """Longest time that a process may take to start."""
    drain_ms: Milliseconds = 30_000
    """On SIGTERM: time for requests in flight to finish."""
    drain_notice_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    """On SIGTERM: time in which the process reports that it is not ready but still answers, so that
    a load balancer notices."""


class ResilienceSettings(Section):
    """What keeps the stack up when a part of it fails."""

    budget: BudgetSettings = BudgetSettings()
    stream: StreamSettings = StreamSettings()
    admission: AdmissionSettings = AdmissionSettings()
    supervision: SupervisionSettings = SupervisionSettings()
