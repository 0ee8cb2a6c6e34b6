"""Measures and bills every attempt: live figures for the next decision, costs for the ledger.

The entry service has one. `tiffin.pipeline.generate` opens an attempt and reports its first token
and its end; `tiffin.routing.client` reads the figures.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from models.values import Finished, GenerateRequest, TokenUsage
from tiffin.core.context import ABANDONED, NO_USAGE, REPLACED, Attempt, RequestContext
from tiffin.core.messages import RouteDecision, Spent
from tiffin.core.text import estimate_tokens
from tiffin.routing.fleet import LEAST, Fleet
from tiffin.routing.ledger import Entry, Ledger, Recorded
from tiffin.telemetry import attempts, genai, tracing
from tiffin.telemetry.tracing import Kind, Off

WEIGHT = 0.2
"""Weight of the newest measurement in a moving average."""

RECENT = 200
"""The share of the strongest tier is taken over this many requests."""

COMMIT_S = 1.0
"""The longest that a hanging ledger may delay an answer."""

DEFAULT_ANSWER_TOKENS = 256
"""Length assumed for the cost of an answer if the client sets no limit."""

IMAGE_TOKENS = 1600
"""Tokens assumed for an image, near the maximum: its real number depends on an unknown size."""


@dataclass
class TierFigures:
    """What was measured of a tier; averages move with `WEIGHT`."""

    ttft_ms: float | None = None
    answer_s: float | None = None
    in_flight: int = 0

    def began(self, ttft_ms: float) -> None:
        """A first token came."""
        self.ttft_ms = _moved(self.ttft_ms, ttft_ms)

    def ended(self, seconds: float) -> None:
        """An answer was complete."""
        self.answer_s = _moved(self.answer_s, seconds)


@dataclass
class Running:
    """An attempt in flight: its line on the bill, and what is needed to close it."""

    attempt: Attempt
    entry: Entry
    prompt_tokens: int
    began: float
    committed: "asyncio.Future[None] | None"
    span: Off
    chars: int = 0
    text: str = ""
    """What was written, if spans hold content."""


@dataclass
class Meter:
    """The meter. Without a `fleet` it does not price, and without a `ledger` it records nothing."""

    fleet: Fleet | None = None
    ledger: Ledger | None = None
    figures: dict[str, TierFigures] = field(default_factory=dict)
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))

    def of(self, tier: str) -> TierFigures:
        """The figures of a tier."""
        return self.figures.setdefault(tier, TierFigures())

    def strong_share(self) -> float:
        """The strongest tier's share of recent answers."""
        return sum(self.recent) / len(self.recent) if self.recent else 0.0

    def spent(self, context: RequestContext) -> Spent:
        """What was spent this day and month by whoever asks."""
        return self.ledger.spent(context.key, context.tenant) if self.ledger else Spent()

    def decided(self, context: RequestContext, recorded: Recorded) -> None:
        """Put the decision on the bill, count it and record it for replay."""
        context.bill.decision = recorded.decision
        attempts.decided(recorded.decision)
        if self.ledger:
            self.ledger.decided(_entry(context, recorded.decision), recorded)

    def most_usd(self, tier: str, prompt_tokens: int, answer_tokens: int) -> float:
        """The most that one answer of that tier may cost."""
        if self.fleet is None:
            return 0.0
        return self.fleet[tier].most_usd(prompt_tokens, answer_tokens, self.of(tier).answer_s)

    def open(
        self,
        tier: str,
        decision: RouteDecision,
        prompt_tokens: int,
        context: RequestContext,
        most_usd: float = 0.0,
    ) -> Running:
        """Open an attempt. The bill shows the prompt's estimate until the tier reports counts."""
        known = self.fleet[tier] if self.fleet else None
        attempt = Attempt(
            number=len(context.bill.attempts),
            tier=tier,
            model=known.model if known else tier,
            provider=known.provider if known else "tiffin",
            most_usd=most_usd,
        )
        attempt.usage = TokenUsage(prompt_tokens=prompt_tokens, completion_tokens=0)
        attempt.estimated = True
        attempt.usd = known.price.usd(attempt.usage) if known else 0.0
        context.bill.attempts.append(attempt)
        self.of(tier).in_flight += 1
        entry = _entry(context, decision)
        committed = self.ledger.opened(entry, attempt) if self.ledger else None
        span = tracing.span(f"chat {attempt.model}", context.traceparent, Kind.CLIENT)
        return Running(attempt, entry, prompt_tokens, time.monotonic(), committed, span)

    async def first(self, running: Running) -> None:
        """Note the first token; return once the ledger has the attempt, or after `COMMIT_S`."""
        running.attempt.ttft_ms = (time.monotonic() - running.began) * 1000
        self.of(running.attempt.tier).began(running.attempt.ttft_ms)
        if running.committed is not None:
            await asyncio.wait([running.committed], timeout=COMMIT_S)

    def believed(self, running: Running, finished: Finished) -> Finished:
        """The last event with plausible counts: the tier's, or else our estimate."""
        usage, running.attempt.estimated = _believed(running, finished.usage)
        return Finished(finished.reason, usage)

    def close(self, running: Running, outcome: str, finished: Finished | None) -> None:
        """Close the attempt. `finished` comes from `believed`; without it, tokens are estimated."""
        attempt = running.attempt
        attempt.outcome = outcome
        attempt.seconds = time.monotonic() - running.began
        figures = self.of(attempt.tier)
        figures.in_flight -= 1
        if finished is not None:
            attempt.usage = finished.usage
        else:
            attempt.usage, attempt.estimated = _believed(running, None)
        if outcome == "ok":
            figures.ended(attempt.seconds)
        self._price(attempt, figures)
        attempts.observe(attempt)
        _end(running, finished)
        if self.ledger:
            self.ledger.closed(running.entry, attempt)

    def replaced(self, running: Running) -> None:
        """Note that a closed attempt's answer was replaced by a better one and reached no one."""
        attempt = running.attempt
        attempt.outcome, attempt.strongest_usd = REPLACED, 0.0
        if self.fleet is not None:
            self.recent.remove(self.fleet.strongest.name == attempt.tier)
        if self.ledger:
            self.ledger.amended(running.entry, attempt)

    def _price(self, attempt: Attempt, figures: TierFigures) -> None:
        if self.fleet is None:
            return
        # Simultaneous answers split the cost of the GPUs' time.
        gpu_s = attempt.seconds / (figures.in_flight + 1)
        attempt.usd = self.fleet[attempt.tier].price.usd(attempt.usage, gpu_s)
        if attempt.outcome == "ok":
            strongest = self.fleet.strongest
            same = strongest.name == attempt.tier
            attempt.strongest_usd = (
                attempt.usd if same else strongest.price.usd(_unmarked(attempt.usage), gpu_s)
            )
            self.recent.append(same)


def _end(running: Running, finished: Finished | None) -> None:
    """End the attempt's span."""
    span, attempt = running.span, running.attempt
    if span:
        span.tell(genai.answered(attempt, finished))
        if running.text:
            span.tell(genai.wrote(running.text, finished))
        if attempt.outcome not in {"ok", ABANDONED}:
            span.fail(attempt.outcome)
    span.end()


def answer_tokens(request: GenerateRequest) -> int:
    """How many tokens the answer may have."""
    return request.max_tokens or DEFAULT_ANSWER_TOKENS


def prompt_tokens(request: GenerateRequest) -> int:
    """Roughly how many tokens a tier will read, tools and images included."""
    if isinstance(request.prompt, list):
        return len(request.prompt)
    texts = [request.prompt] if request.prompt else [turn.content for turn in request.messages]
    tools = (f"{tool.name} {tool.description} {tool.parameters}" for tool in request.tools)
    images = sum(len(turn.images) for turn in request.messages)
    return IMAGE_TOKENS * images + estimate_tokens(sum(map(len, texts)) + sum(map(len, tools)))


def _believed(running: Running, usage: TokenUsage | None) -> tuple[TokenUsage, bool]:
    """The counts to bill, and whether we estimated them. Implausible counts are not billed."""
    if usage is not None and _can_be(usage, running.chars):
        return usage, False
    if running.attempt.ttft_ms is None and usage is None:
        return NO_USAGE, False  # nothing came, so nothing is charged
    estimate = TokenUsage(
        prompt_tokens=running.prompt_tokens,
        completion_tokens=max(LEAST.completion_tokens, estimate_tokens(running.chars)),
    )
    return estimate, True


def _can_be(usage: TokenUsage, chars: int) -> bool:
    """Whether no count is negative, the parts fit the whole, and written text was counted."""
    parts = usage.cached_tokens + usage.cache_write_tokens
    counts = (usage.cached_tokens, usage.cache_write_tokens, usage.completion_tokens)
    written = usage.completion_tokens > 0 or chars == 0
    return min(counts) >= 0 and 0 < usage.prompt_tokens >= parts and written


def _unmarked(usage: TokenUsage) -> TokenUsage:
    """The same tokens without a cache, because another tier would not have had one."""
    return TokenUsage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)


def _entry(context: RequestContext, decision: RouteDecision) -> Entry:
    return Entry(context.request_id, context.tenant, context.key, decision.policy, context.arrived)


def _moved(average: float | None, value: float) -> float:
    return value if average is None else average + WEIGHT * (value - average)
