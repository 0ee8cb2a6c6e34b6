"""The answer to one question while it is written, and what stands in for it when it cannot be."""

from dataclasses import dataclass, field

from models.values import Finished, FinishReason, TextDelta, TokenEvent, TokenUsage
from tiffin.core.errors import UpstreamFailed
from tiffin.core.text import estimate_tokens
from tiffin.core.values import QUOTE, Route


@dataclass
class Draft:
    """What is written so far."""

    route: Route = field(default_factory=lambda: Route(tier=QUOTE, model=QUOTE, reason=""))
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

    def cut_off(self, prompt_chars: int, reason: FinishReason = "length") -> None:
        """Let what is written be the answer. Its usage is an estimate: the tier did not say it."""
        self.finish_reason = reason
        self.usage = TokenUsage(
            prompt_tokens=estimate_tokens(prompt_chars),
            completion_tokens=estimate_tokens(len(self.text)),
        )

    def write(self, text: str, route: Route) -> None:
        """Let a text that no model wrote be the answer."""
        self.text, self.route = text, route
        self.finish_reason = "stop"
        self.usage = TokenUsage(prompt_tokens=0, completion_tokens=0)
