"""Measures and bills every attempt: live figures for the next decision, costs for the ledger.

One in the entry service. `tiffin.pipeline.generate` opens an attempt, tells of its first token and
its end; `tiffin.routing.client` reads the figures.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from models.values import Finished, GenerateRequest, TokenUsage
from tiffin.core.context import NO_USAGE, REPLACED, Attempt, RequestContext
from tiffin.core.messages import RouteDecision, Spent
from tiffin.core.text import estimate_tokens
from tiffin.routing.fleet import LEAST, Fleet
from tiffin.routing.ledger import Entry, Ledger, Recorded
from tiffin.telemetry import metrics

WEIGHT = 0.2
"""Of the newest measurement in a moving average."""

RECENT = 200
"""Requests over which the share of the strongest tier is taken."""

COMMIT_S = 1.0
"""By how much a ledger that hangs may delay an answer."""

DEFAULT_ANSWER_TOKENS = 256
"""For reckoning the cost of an answer whose length the client left open."""

IMAGE_TOKENS = 1600
"""Of an image, at most about: providers count it by its size, which is not known of an address."""


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
    """An attempt in work: its line on the bill, and what it takes to close it."""

    attempt: Attempt
    entry: Entry
    prompt_tokens: int
    began: float
    committed: "asyncio.Future[None] | None"
    chars: int = 0


@dataclass
class Meter:
    """`fleet` None measures without prices; `ledger` None keeps no books."""

    fleet: Fleet | None = None
    ledger: Ledger | None = None
    figures: dict[str, TierFigures] = field(default_factory=dict)
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))

    def of(self, tier: str) -> TierFigures:
        """The figures of a tier."""
        return self.figures.setdefault(tier, TierFigures())

    def strong_share(self) -> float:
        """The share of recent answers that the strongest tier gave."""
        return sum(self.recent) / len(self.recent) if self.recent else 0.0

    def spent(self, key: str) -> Spent:
        """What was spent today."""
        return self.ledger.spent(key) if self.ledger else Spent()

    def decided(self, context: RequestContext, recorded: Recorded) -> None:
        """Keep the decision on the bill and for replay."""
        context.bill.decision = recorded.decision
        if self.ledger:
            self.ledger.decided(_entry(context, recorded.decision), recorded)

    def most_usd(self, tier: str, prompt_tokens: int, answer_tokens: int) -> float:
        """What one answer of that tier may come to."""
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
        """A tier is asked. Until it tells its counts the prompt's estimate stands on the bill."""
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
        return Running(attempt, entry, prompt_tokens, time.monotonic(), committed)

    async def first(self, running: Running) -> None:
        """Its first token came; returns once the ledger has the attempt, or `COMMIT_S` later."""
        running.attempt.ttft_ms = (time.monotonic() - running.began) * 1000
        self.of(running.attempt.tier).began(running.attempt.ttft_ms)
        if running.committed is not None:
            await asyncio.wait([running.committed], timeout=COMMIT_S)

    def believed(self, running: Running, finished: Finished) -> Finished:
        """The last event with counts that can be: the tier's, or our estimate."""
        usage, running.attempt.estimated = _believed(running, finished.usage)
        return Finished(finished.reason, usage)

    def close(self, running: Running, outcome: str, finished: Finished | None) -> None:
        """The attempt ended. Without `finished`, as `believed` gave it, tokens are estimated."""
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
        metrics.series(metrics.attempts_total, attempt.tier, outcome).inc()
        metrics.series(metrics.cost_usd_total, attempt.tier).inc(attempt.usd)
        if self.ledger:
            self.ledger.closed(running.entry, attempt)

    def replaced(self, running: Running) -> None:
        """A closed attempt's answer was thrown away for a better one, and reached nobody."""
        attempt = running.attempt
        attempt.outcome, attempt.strongest_usd = REPLACED, 0.0
        if self.fleet is not None:
            self.recent.remove(self.fleet.strongest.name == attempt.tier)
        if self.ledger:
            self.ledger.amended(running.entry, attempt)

    def _price(self, attempt: Attempt, figures: TierFigures) -> None:
        if self.fleet is None:
            return
        # GPUs that answer several at once share their hour among them.
        gpu_s = attempt.seconds / (figures.in_flight + 1)
        attempt.usd = self.fleet[attempt.tier].price.usd(attempt.usage, gpu_s)
        if attempt.outcome == "ok":
            strongest = self.fleet.strongest
            same = strongest.name == attempt.tier
            attempt.strongest_usd = (
                attempt.usd if same else strongest.price.usd(_unmarked(attempt.usage), gpu_s)
            )
            self.recent.append(same)


def answer_tokens(request: GenerateRequest) -> int:
    """How many tokens the answer may have."""
    return request.max_tokens or DEFAULT_ANSWER_TOKENS


def prompt_tokens(request: GenerateRequest) -> int:
    """About how many tokens a tier will read, tools and all."""
    if isinstance(request.prompt, list):
        return len(request.prompt)
    texts = [request.prompt] if request.prompt else [turn.content for turn in request.messages]
    tools = (f"{tool.name} {tool.description} {tool.parameters}" for tool in request.tools)
    images = sum(len(turn.images) for turn in request.messages)
    return IMAGE_TOKENS * images + estimate_tokens(sum(map(len, texts)) + sum(map(len, tools)))


def _believed(running: Running, usage: TokenUsage | None) -> tuple[TokenUsage, bool]:
    """The counts to bill, and whether they are ours. Counts that cannot be are not billed."""
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
    """No count is negative, the parts fit the whole, and what was written was counted."""
    parts = usage.cached_tokens + usage.cache_write_tokens
    counts = (usage.cached_tokens, usage.cache_write_tokens, usage.completion_tokens)
    written = usage.completion_tokens > 0 or chars == 0
    return min(counts) >= 0 and 0 < usage.prompt_tokens >= parts and written


def _unmarked(usage: TokenUsage) -> TokenUsage:
    """The same tokens without a cache: another tier would have had none."""
    return TokenUsage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)


def _entry(context: RequestContext, decision: RouteDecision) -> Entry:
    return Entry(context.request_id, context.tenant, context.key, decision.policy, context.arrived)


def _moved(average: float | None, value: float) -> float:
    return value if average is None else average + WEIGHT * (value - average)
