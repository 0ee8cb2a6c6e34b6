"""Settings of everything that keeps the stack standing: budgets, streams, admission, supervision.

The budgets are shares of a request's deadline: they are written for the default deadline of 5 s and
scale with it.
"""

from typing import Annotated

from pydantic import Field

from tiffin.config.section import Section

Milliseconds = Annotated[int, Field(ge=1, le=600_000)]


class BudgetSettings(Section):
    """How a deadline is split among the stages (`tiffin.pipeline.budget`). Ratios, given in ms."""

    embed_ms: Annotated[Milliseconds, Field(description="Query and passages to vectors.")] = 50
    search_ms: Annotated[Milliseconds, Field(description="Vector search.")] = 20
    rerank_ms: Annotated[Milliseconds, Field(description="Passages by relevance.")] = 200
    generate_ms: Annotated[Milliseconds, Field(description="The answer, or its first token.")] = (
        3000
    )
    cite_ms: Annotated[Milliseconds, Field(description="The passage behind each sentence.")] = 50
    rest_ms: Annotated[
        Milliseconds, Field(description="Slack that any stage may use, the first ones first.")
    ] = 1680


class StreamSettings(Section):
    """Limits of a stream, which may outlive the deadline of the answer that it begins."""

    first_token_ms: Annotated[
        Milliseconds, Field(description="From the request to the first text.")
    ] = 60_000
    gap_ms: Annotated[Milliseconds, Field(description="Between two pieces of text.")] = 10_000
    total_ms: Annotated[
        Milliseconds, Field(description="The whole stream, unless the request names a deadline.")
    ] = 300_000


class AdmissionSettings(Section):
    """The door: how many questions are in work, wait, and who goes first."""

    min_in_work: Annotated[
        int, Field(ge=1, description="The adaptive limit of a stage never falls below this.")
    ] = 2
    max_waiting: Annotated[
        int, Field(ge=0, description="Questions to one stage that may wait; more are refused.")
    ] = 64
    max_wait_ms: Annotated[
        Milliseconds, Field(description="Longest wait for a place; then refused.")
    ] = 2000
    batch_share: Annotated[
        float, Field(gt=0, le=1, description="Share of the places that batch work may hold.")
    ] = 0.5


class SupervisionSettings(Section):
    """How the supervisor watches the processes that it started."""

    tick_ms: Annotated[Milliseconds, Field(description="How often it looks.")] = 250
    stopped_after_ms: Annotated[
        Milliseconds, Field(description="A stopped process (SIGSTOP) is replaced after this.")
    ] = 1000
    hung_after_ms: Annotated[
        Milliseconds, Field(description="So is one whose event loop gave no sign for this long.")
    ] = 4000
    start_limit_s: Annotated[
        int, Field(ge=1, le=86_400, description="Longest time that a process may load.")
    ] = 900
    drain_ms: Annotated[
        Milliseconds, Field(description="On SIGTERM: for what is in work to finish.")
    ] = 30_000
    drain_notice_ms: Annotated[
        int,
        Field(
            ge=0,
            le=600_000,
            description="On SIGTERM: not ready, but still answering, so that a balancer sees it.",
        ),
    ] = 0


class ResilienceSettings(Section):
    """What keeps the stack standing when a part of it does not."""

    budget: BudgetSettings = BudgetSettings()
    stream: StreamSettings = StreamSettings()
    admission: AdmissionSettings = AdmissionSettings()
    supervision: SupervisionSettings = SupervisionSettings()
