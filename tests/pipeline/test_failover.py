"""What happens when tiers fail: fallbacks, retries, breakers, and that each attempt is billed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from unittest.mock import Mock

import pytest

from models.values import (
    ChatMessage,
    Finished,
    GenerateRequest,
    TextDelta,
    TokenEvent,
    TokenLogprob,
    TokenUsage,
)
from tests.routing.fleets import settings_with
from tiffin.config.routing import FailoverSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import (
    UNSUPPORTED_PARAMETER,
    DeadlineExceeded,
    InvalidRequest,
    RateLimited,
    TiffinError,
    Unavailable,
    UpstreamFailed,
)
from tiffin.core.messages import RouteDecision
from tiffin.pipeline import generate
from tiffin.pipeline.generate import Begun, Generator
from tiffin.routing.assembly import fleet_of
from tiffin.routing.meter import Meter
from tiffin.traffic.failover import Failover

REQUEST = GenerateRequest(messages=[ChatMessage("user", "x" * 400)])
USAGE = TokenUsage(prompt_tokens=1000, completion_tokens=100, cached_tokens=500)
BROKEN = UpstreamFailed("broken")


@dataclass
class FakeTier:
    """Fails with each of `fails` in turn, then answers."""

    fails: list[TiffinError] = field(default_factory=list)
    wait_s: float = 0.0
    breaks_after: int | None = None
    breaks: TiffinError = BROKEN
    usage: TokenUsage = USAGE
    logprob: float | None = None
    logprobs: list[float] = field(default_factory=list)
    calls: int = 0

    async def generate(
        self, request: GenerateRequest, _: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        self.calls += 1
        logprob = self.logprobs.pop(0) if self.logprobs else self.logprob
        await asyncio.sleep(self.wait_s)
        if self.fails:
            raise self.fails.pop(0)
        for number in range(4):
            if number == self.breaks_after:
                raise self.breaks
            told = logprob is not None and request.logprobs is not None
            yield TextDelta("word ", [TokenLogprob("word", logprob or 0.0)] if told else [])
        yield Finished("stop", self.usage)


@dataclass
class Clock:
    """Time that the test moves."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def generator(clock: Clock | None = None, **tiers: FakeTier) -> Generator:
    failover = Failover(FailoverSettings(breaker_failures=3), clock or Clock())
    return Generator(tiers, Meter(fleet_of(settings_with())), failover)


def decision(
    *tiers: str, escalate_below: float | None = None, max_usd: float | None = None
) -> RouteDecision:
    return RouteDecision(
        tiers[0], "test", list(tiers[1:]), escalate_below=escalate_below, max_usd=max_usd
    )


def context(seconds: float = 5.0) -> RequestContext:
    return RequestContext(Deadline.after(seconds))


async def text_of(begun: Begun) -> str:
    events = [begun.first]
    async with aclosing(begun.rest) as rest:
        events += [event async for event in rest]
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def outcomes(request: RequestContext) -> list[tuple[str, str]]:
    return [(attempt.tier, attempt.outcome) for attempt in request.bill.attempts]


async def test_each_attempt_is_on_the_bill_and_the_strongest_is_priced_beside() -> None:
    request = context()
    tiers = generator(mid=FakeTier([UpstreamFailed("no")]), big=FakeTier())
    assert await text_of(await tiers.begin(decision("mid", "big"), REQUEST, request)) == "word " * 4
    assert outcomes(request) == [("mid", "server_error"), ("big", "ok")]
    assert request.bill.usd == pytest.approx(1000 * 10e-6 + 100 * 30e-6)
    assert request.bill.strongest_usd == pytest.approx(request.bill.usd)


async def test_cached_tokens_have_their_own_price() -> None:
    request = context()
    await text_of(await generator(mid=FakeTier()).begin(decision("mid"), REQUEST, request))
    assert request.bill.usd == pytest.approx(500 * 1e-6 + 500 * 0.1e-6 + 100 * 4e-6)
    assert request.bill.strongest_usd == pytest.approx(1000 * 10e-6 + 100 * 30e-6)


@pytest.mark.parametrize("prompt_tokens", [0, -5])
async def test_counts_that_cannot_be_are_estimated(prompt_tokens: int) -> None:
    wrong = TokenUsage(prompt_tokens=prompt_tokens, completion_tokens=0)
    request = context()
    await text_of(
        await generator(mid=FakeTier(usage=wrong)).begin(decision("mid"), REQUEST, request)
    )
    (attempt,) = request.bill.attempts
    assert attempt.estimated
    assert attempt.usage == TokenUsage(prompt_tokens=100, completion_tokens=5)


async def test_after_the_first_byte_no_other_tier_is_asked() -> None:
    request = context()
    other = FakeTier()
    tiers = generator(mid=FakeTier(breaks_after=2), big=other)
    begun = await tiers.begin(decision("mid", "big"), REQUEST, request)
    with pytest.raises(UpstreamFailed):
        await text_of(begun)
    assert other.calls == 0
    assert outcomes(request) == [("mid", "server_error")]
    assert request.bill.attempts[0].estimated, "what was sent and read is billed"


async def test_a_caller_that_leaves_is_billed_for_what_it_read() -> None:
    request = context()
    begun = await generator(mid=FakeTier()).begin(decision("mid"), REQUEST, request)
    await begun.rest.aclose()
    assert outcomes(request) == [("mid", "abandoned")]
    assert request.bill.usd > 0


async def test_a_fault_of_the_request_is_told_at_once() -> None:
    other = FakeTier()
    tiers = generator(mid=FakeTier([InvalidRequest("bad")]), big=other)
    with pytest.raises(InvalidRequest):
        await tiers.begin(decision("mid", "big"), REQUEST, context())
    assert other.calls == 0


async def test_a_parameter_that_one_tier_lacks_is_taken_to_the_next() -> None:
    lacks = InvalidRequest("no such parameter", code=UNSUPPORTED_PARAMETER)
    tiers = generator(mid=FakeTier([lacks]), big=FakeTier())
    assert (await tiers.begin(decision("mid", "big"), REQUEST, context())).tier == "big"


async def test_without_another_tier_one_retry_is_made_from_a_budget_of_ten_percent() -> None:
    tier = FakeTier([UpstreamFailed("once")])
    tiers = generator(mid=tier)
    await text_of(await tiers.begin(decision("mid"), REQUEST, context()))
    assert tier.calls == 2
    for _ in range(20):
        tier.fails = [UpstreamFailed("no"), UpstreamFailed("no")]
        tiers.failover.breaker("mid").succeeded()
        with pytest.raises(UpstreamFailed):
            await tiers.begin(decision("mid"), REQUEST, context())
    assert tier.calls - 2 <= 20 + 20 * 0.1 + 1


async def test_retry_after_is_obeyed_while_others_answer() -> None:
    clock = Clock()
    limited = FakeTier([RateLimited("later", retry_after_s=30)])
    tiers = generator(clock, mid=limited, big=FakeTier())
    for _ in range(3):
        assert (await tiers.begin(decision("mid", "big"), REQUEST, context())).tier == "big"
    assert limited.calls == 1
    clock.now += 31
    assert (await tiers.begin(decision("mid", "big"), REQUEST, context())).tier == "mid"


async def test_retry_after_beyond_the_deadline_is_passed_to_the_client() -> None:
    tiers = generator(mid=FakeTier([RateLimited("later", retry_after_s=30)]))
    with pytest.raises(RateLimited) as raised:
        await tiers.begin(decision("mid"), REQUEST, context())
    assert raised.value.retry_after_s == 30
    with pytest.raises(Unavailable) as closed:
        await tiers.begin(decision("mid"), REQUEST, context())
    assert closed.value.retry_after_s == 30


async def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_request_try() -> None:
    clock = Clock()
    failing = FakeTier([UpstreamFailed("no")] * 4)
    tiers = generator(clock, mid=failing, big=FakeTier())
    for _ in range(6):
        await text_of(await tiers.begin(decision("mid", "big"), REQUEST, context()))
    assert failing.calls == 3
    clock.now += 6
    failing.wait_s = 0.05
    both = (tiers.begin(decision("mid", "big"), REQUEST, context()) for _ in range(2))
    await asyncio.gather(*both)
    assert failing.calls == 4, "half-open: one request tries, the other goes elsewhere"
    clock.now += 6
    assert (await tiers.begin(decision("mid", "big"), REQUEST, context())).tier == "mid"


async def test_the_only_tier_is_asked_again_as_soon_as_it_is_well() -> None:
    only = FakeTier([UpstreamFailed("no")] * 8)
    tiers = generator(mid=only)
    while only.fails:
        with pytest.raises(UpstreamFailed):
            await tiers.begin(decision("mid"), REQUEST, context())
    assert (await tiers.begin(decision("mid"), REQUEST, context())).tier == "mid"


async def test_a_tier_that_hangs_leaves_time_for_the_next() -> None:
    tiers = generator(mid=FakeTier(wait_s=10), big=FakeTier())
    request = context(0.5)
    assert (await tiers.begin(decision("mid", "big"), REQUEST, request)).tier == "big"
    assert outcomes(request)[0] == ("mid", "timeout_error")


async def test_answers_that_write_beyond_their_deadline_do_not_open_the_breaker() -> None:
    """Several at once, so that none begins between the ends of others."""
    tiers = generator(mid=FakeTier(breaks_after=2, breaks=DeadlineExceeded("too late")))
    begun = [await tiers.begin(decision("mid"), REQUEST, context()) for _ in range(20)]
    for one in begun:
        with pytest.raises(DeadlineExceeded):
            await text_of(one)
    assert not tiers.failover.breaker("mid").is_open


async def test_everything_stays_inside_the_deadline() -> None:
    tiers = generator(mid=FakeTier(wait_s=10), big=FakeTier(wait_s=10))
    began = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await tiers.begin(decision("mid", "big"), REQUEST, context(0.3))
    assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.parametrize(("logprob", "tier"), [(-2.0, "big"), (-0.01, "small"), (None, "small")])
async def test_the_cascade_asks_the_stronger_tier_when_the_cheap_one_is_unsure(
    logprob: float | None, tier: str
) -> None:
    request = context()
    tiers = generator(small=FakeTier(logprob=logprob), big=FakeTier())
    begun = await tiers.begin(decision("small", "big", escalate_below=0.8), REQUEST, request)
    assert begun.tier == tier
    assert isinstance(begun.first, TextDelta)
    assert begun.first.logprobs == []
    assert await text_of(begun) == "word " * 4
    assert len(request.bill.attempts) == (2 if tier == "big" else 1)


async def test_a_sure_tier_is_kept_when_the_stronger_one_fails() -> None:
    request = context()
    tiers = generator(small=FakeTier(logprob=-2.0), big=FakeTier([BROKEN, BROKEN]))
    begun = await tiers.begin(decision("small", "big", escalate_below=0.8), REQUEST, request)
    assert await text_of(begun) == "word " * 4
    assert begun.tier == "small"


async def test_of_several_cascades_at_once_each_marks_its_own_answer_as_replaced() -> None:
    request = context()
    unsure = FakeTier(logprobs=[-0.01, -2.0, -0.01])
    tiers = generator(mid=unsure, big=FakeTier())
    cascade = decision("mid", "big", escalate_below=0.8)
    begun = await asyncio.gather(*(tiers.begin(cascade, REQUEST, request) for _ in range(3)))
    assert [await text_of(one) for one in begun] == ["word " * 4] * 3
    assert [one.tier for one in begun] == ["mid", "big", "mid"]
    assert outcomes(request) == [("mid", "ok"), ("mid", "replaced"), ("mid", "ok"), ("big", "ok")]
    strongest = 1000 * 10e-6 + 100 * 30e-6
    assert request.bill.strongest_usd == pytest.approx(3 * strongest), "one for each answer read"
    assert tiers.meter.strong_share() == pytest.approx(1 / 3)


DEAR_ONE = 100 * 10e-6 + 256 * 30e-6
"""The most that one answer of `big` to REQUEST may cost."""


async def test_an_escalation_that_would_pass_the_cap_leaves_the_cheap_answer() -> None:
    spent = 500 * 1e-6 + 500 * 0.1e-6 + 100 * 4e-6  # by `mid`, on its unsure answer
    for cap, tier in ((DEAR_ONE + spent + 1e-6, "big"), (DEAR_ONE + spent - 1e-6, "mid")):
        request = context()
        tiers = generator(mid=FakeTier(logprob=-2.0), big=FakeTier())
        cascade = decision("mid", "big", escalate_below=0.8, max_usd=cap)
        begun = await tiers.begin(cascade, REQUEST, request)
        assert (begun.tier, await text_of(begun)) == (tier, "word " * 4)


async def test_fallbacks_stay_within_the_cap_of_the_whole_request() -> None:
    request = context()
    tiers = generator(mid=FakeTier(breaks_after=2), big=FakeTier(), small=FakeTier())
    cap = decision("mid", max_usd=0.0012)
    first = await tiers.begin(cap, REQUEST, request)
    with pytest.raises(UpstreamFailed):
        await text_of(first)
    assert request.bill.usd > 0, "what was written before it broke is paid for"
    with pytest.raises(InvalidRequest, match=r"cost so far, an answer of mid or big would exceed"):
        await tiers.begin(decision("mid", "big", max_usd=0.0012), REQUEST, request)
    freely = decision("mid", "big", "small", max_usd=0.0012)
    assert (await tiers.begin(freely, REQUEST, request)).tier == "small", "what is free stays open"


async def test_a_prompt_is_counted_once_however_many_tiers_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counting = Mock(return_value=100)
    monkeypatch.setattr(generate, "prompt_tokens", counting)
    request = context()
    tiers = generator(mid=FakeTier([BROKEN]), big=FakeTier())
    await text_of(await tiers.begin(decision("mid", "big", max_usd=1.0), REQUEST, request))
    assert (counting.call_count, len(request.bill.attempts)) == (1, 2)


async def test_answers_side_by_side_count_with_what_they_may_yet_cost() -> None:
    request = context()
    tiers = generator(big=FakeTier(wait_s=0.01))
    two = decision("big", max_usd=2.5 * DEAR_ONE)
    begun = await asyncio.gather(
        *(tiers.begin(two, REQUEST, request) for _ in range(3)), return_exceptions=True
    )
    assert [type(one) for one in begun] == [Begun, Begun, InvalidRequest]


async def test_live_figures_follow_what_was_measured() -> None:
    tiers = generator(mid=FakeTier(wait_s=0.02))
    await text_of(await tiers.begin(decision("mid"), REQUEST, context()))
    figures = tiers.meter.of("mid")
    assert (figures.ttft_ms or 0) >= 20
    assert (figures.answer_s or 0) > 0
    assert figures.in_flight == 0
