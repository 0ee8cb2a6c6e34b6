"""The answer to one question while it is written, and what stands in for it when it cannot be.

Made by `rag` once the sources are found; becomes the RagAnswer at the end.
"""

from dataclasses import dataclass, field

from models.values import Finished, FinishReason, TextDelta, TokenEvent, TokenUsage
from tiffin.core.bill import Bill
from tiffin.core.context import RequestContext
from tiffin.core.errors import UpstreamFailed
from tiffin.core.values import Cost, RagAnswer, Route, Source, Usage
from tiffin.pipeline.cite import cite
from tiffin.pipeline.lexical import extract
from tiffin.telemetry.timeline import Timeline

RETRIEVAL = "retrieval"
"""The tier that an answer names which no model wrote: it quotes the passages."""

CHARS_PER_TOKEN = 4
"""For the usage of a tier that was cut off before it said it."""


@dataclass
class Draft:
    """What is written so far."""

    query: str
    sources: list[Source]
    degraded: list[str]
    route: Route = field(default_factory=lambda: Route(tier=RETRIEVAL, model=RETRIEVAL, reason=""))
    text: str = ""
    finish_reason: FinishReason | None = None
    usage: TokenUsage = field(
        default_factory=lambda: TokenUsage(prompt_tokens=0, completion_tokens=0)
    )

    def add(self, event: TokenEvent) -> None:
        """Take in the tier's next event."""
        if isinstance(event, TextDelta):
            self.text += event.text
        elif isinstance(event, Finished):
            self.finish_reason = event.reason
            self.usage = event.usage

    def check_whole(self) -> None:
        """Raise UpstreamFailed unless the tier said that it had finished."""
        if self.finish_reason is None:
            message = "the model ended without saying so"
            raise UpstreamFailed(message)

    def cut_off(self) -> None:
        """Let what is written be the answer. Its usage is an estimate: the tier did not say it."""
        self.finish_reason = "length"
        read = sum(len(source.text) for source in self.sources) + len(self.query)
        self.usage = TokenUsage(
            prompt_tokens=read // CHARS_PER_TOKEN,
            completion_tokens=len(self.text) // CHARS_PER_TOKEN,
        )
        self.degraded.append("short_answer")

    def quote(self, reason: str) -> None:
        """Let the sentences of the sources that fit the question be the answer."""
        self.text = extract(self.query, self.sources)
        self.finish_reason = "stop"
        self.route = Route(tier=RETRIEVAL, model=RETRIEVAL, reason=reason)
        self.usage = TokenUsage(prompt_tokens=0, completion_tokens=0)
        self.degraded.append("generation")

    def answer(
        self, context: RequestContext, timeline: Timeline, embedding_tokens: int, rerank_tokens: int
    ) -> RagAnswer:
        """The whole answer, with its citations."""
        usage = self.usage
        return RagAnswer(
            id=context.request_id,
            answer=self.text,
            citations=cite(self.text, self.sources),
            sources=self.sources,
            finish_reason=self.finish_reason or "stop",
            usage=Usage(
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                total_tokens=usage.prompt_tokens + usage.completion_tokens,
                cached_tokens=usage.cached_tokens,
                embedding_tokens=embedding_tokens,
                rerank_tokens=rerank_tokens,
            ),
            timings=timeline.timings(),
            route=self.route,
            cost=_cost(context.bill),
            degraded=self.degraded,
        )


def _cost(bill: Bill) -> Cost:
    return Cost(
        usd=bill.usd,
        strongest_usd=bill.strongest_usd,
        attempts=len(bill.attempts),
        estimated=any(attempt.estimated for attempt in bill.attempts),
    )
