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

    embed_ms: Annotated[Milliseconds, Field(description="Embedding of query and passages.")] = 50
    search_ms: Annotated[Milliseconds, Field(description="Vector search.")] = 20
    rerank_ms: Annotated[Milliseconds, Field(description="Reranking.")] = 200
    evidence_ms: Annotated[Milliseconds, Field(description="Scoring of sentences.")] = 300
    generate_ms: Annotated[Milliseconds, Field(description="The answer, or its first token.")] = (
        3000
    )
    cite_ms: Annotated[Milliseconds, Field(description="The passage behind each sentence.")] = 50
    rest_ms: Annotated[
        Milliseconds, Field(description="Slack that any stage may use, first come, first served.")
    ] = 1380


class StreamSettings(Section):
    """Limits of a stream, which may run longer than a request's default deadline."""

    first_token_ms: Annotated[
        Milliseconds, Field(description="Longest time from the request to the first text.")
    ] = 60_000
    gap_ms: Annotated[
        Milliseconds, Field(description="Longest time between two pieces of text.")
    ] = 10_000
    total_ms: Annotated[
        Milliseconds, Field(description="Longest stream, unless the request sets a deadline.")
    ] = 300_000


class AdmissionSettings(Section):
    """The admission queue: how many requests are in flight, how many wait, and who goes first."""

    min_in_work: Annotated[
        int, Field(ge=1, description="The adaptive limit never falls below this.")
    ] = 2
    max_waiting: Annotated[
        int, Field(ge=0, description="Requests that may wait in a queue; more are refused.")
    ] = 64
    max_wait_ms: Annotated[
        Milliseconds, Field(description="Longest wait in the queue; then the request is refused.")
    ] = 2000
    batch_share: Annotated[
        float, Field(gt=0, le=1, description="Share of the slots that batch requests may take.")
    ] = 0.5


class SupervisionSettings(Section):
    """How the supervisor watches the processes that it started."""

    tick_ms: Annotated[Milliseconds, Field(description="How often processes are checked.")] = 250
    stopped_after_ms: Annotated[
        Milliseconds, Field(description="A stopped process (SIGSTOP) is replaced after this.")
    ] = 1000
    hung_after_ms: Annotated[
        Milliseconds,
        Field(description="A process whose event loop does not run for this long is replaced."),
    ] = 4000
    start_limit_s: Annotated[
        int, Field(ge=1, le=86_400, description="Longest time that a process may take to start.")
    ] = 900
    drain_ms: Annotated[
        Milliseconds, Field(description="On SIGTERM: time for requests in flight to finish.")
    ] = 30_000
    drain_notice_ms: Annotated[
        int,
        Field(
            ge=0,
            le=600_000,
            description="On SIGTERM: time in which the process reports that it is not ready but"
            " still answers, so that a load balancer notices.",
        ),
    ] = 0


class ResilienceSettings(Section):
    """What keeps the stack up when a part of it fails."""

    budget: BudgetSettings = BudgetSettings()
    stream: StreamSettings = StreamSettings()
    admission: AdmissionSettings = AdmissionSettings()
    supervision: SupervisionSettings = SupervisionSettings()
