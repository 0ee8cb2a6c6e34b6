"""The answer to one question while it is written, and what stands in for it when it cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.values import Finished, FinishReason, TextDelta, TokenEvent, TokenUsage
from tiffin.core.errors import UpstreamFailed
from tiffin.core.text import estimate_tokens
from tiffin.core.values import Route, Source
from tiffin.pipeline.lexical import extract

RETRIEVAL = "retrieval"
"""The tier of an answer that quotes the passages because no model could write it."""


@dataclass
class Draft:
    """What is written so far."""

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

    def cut_off(self, prompt_chars: int) -> None:
        """Let what is written be the answer. Its usage is an estimate: the tier did not say it."""
        self.finish_reason = "length"
        self.usage = TokenUsage(
            prompt_tokens=estimate_tokens(prompt_chars),
            completion_tokens=estimate_tokens(len(self.text)),
        )

    def quote(self, query: str, sources: Sequence[Source], reason: str) -> None:
        """Let the sentences of the sources that fit the question be the answer."""
        self.text = extract(query, sources)
        self.finish_reason = "stop"
        self.route = Route(tier=RETRIEVAL, model=RETRIEVAL, reason=reason)
        self.usage = TokenUsage(prompt_tokens=0, completion_tokens=0)
