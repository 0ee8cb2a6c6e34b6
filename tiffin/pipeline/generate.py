"""Asks the chosen tier for the answer, and the next one when it cannot begin. Last hop.

    decision -> tier, retried once -> first event -> the rest
                  |  fails               '- the caller reads; a failure now ends the stream
                  '-> next tier ...

Everything stays inside the request's deadline. Each attempt is on the bill, however it ends.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from models.values import Finished, GenerateRequest, TextDelta, TokenEvent, ToolCallDelta
from tiffin.core.context import ABANDONED, Attempt, RequestContext
from tiffin.core.errors import (
    NO_TIER_SATISFIES,
    PROVIDER_OVERLOADED,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    RateLimited,
    TiffinError,
    Unavailable,
    UpstreamFailed,
)
from tiffin.core.messages import RouteDecision
from tiffin.providers.protocol import LLM
from tiffin.routing.meter import Meter, Running, answer_tokens, prompt_tokens
from tiffin.telemetry import genai, logs, tracing
from tiffin.traffic.failover import Failover, is_callers, is_final

logger = logging.getLogger(__name__)

RETRY_PAUSE_S = 0.05
"""Before the second attempt at a tier that said nothing of when to come back; jittered."""


class Begun(msgspec.Struct, frozen=True):
    """A tier that began to answer: its first event, and the rest, which the caller must close."""

    tier: str
    first: TokenEvent
    rest: AsyncGenerator[TokenEvent, None]
    running: Running


class _Call(msgspec.Struct, frozen=True):
    """One request on its way to the tiers. Its prompt is counted once, for all attempts."""

    decision: RouteDecision
    request: GenerateRequest
    context: RequestContext
    prompt_tokens: int


@dataclass(frozen=True)
class Generator:
    """The LLM tiers by name, what is measured of them, and what to do when they fail."""

    tiers: Mapping[str, LLM]
    meter: Meter = field(default_factory=Meter)
    failover: Failover = field(default_factory=Failover)

    async def begin(
        self, decision: RouteDecision, request: GenerateRequest, context: RequestContext
    ) -> Begun:
        """Ask the tiers in order until one begins.

        A tier that fails before its first event is passed over for the next. One that fails later
        ends the stream with its error: the client has already read a part of the answer.
        """
        call = _Call(decision, request, context, prompt_tokens(request))
        if decision.escalate_below is not None and decision.fallbacks:
            return await self._cascade(call, decision.escalate_below)
        return await self._first_of((decision.tier, *decision.fallbacks), call)

    async def _first_of(self, tiers: tuple[str, ...], call: _Call) -> Begun:
        failure: TiffinError | None = None
        for position, tier in enumerate(tiers):
            if not self._within_cap(tier, call):
                continue
            others = tuple(
                other for other in tiers[position + 1 :] if self._within_cap(other, call)
            )
            try:
                return await self._ask(tier, call, others)
            except TiffinError as error:
                if is_final(error) or call.context.begin_s() <= 0:
                    raise
                failure = error
        raise failure or _beyond_cap(tiers, call.decision)

    def _within_cap(self, tier: str, call: _Call) -> bool:
        """Whether one more attempt fits into what the whole request may cost. A free one does."""
        cap = call.decision.max_usd
        if cap is None:
            return True
        usd = self._most_usd(tier, call)
        return usd == 0 or call.context.bill.committed_usd + usd <= cap

    def _most_usd(self, tier: str, call: _Call) -> float:
        return self.meter.most_usd(tier, call.prompt_tokens, answer_tokens(call.request))

    async def _ask(self, tier: str, call: _Call, others: tuple[str, ...]) -> Begun:
        """One attempt; a second one if no other tier can be asked instead."""
        breaker = self.failover.breaker(tier)
        self.failover.budget(tier).earn()
        breaker.enter(last=not self.failover.any_closed(others))
        try:
            return await self._attempt(tier, call, others)
        except TiffinError as error:
            wait_s = self._retry_wait_s(tier, error, call.context, others)
            if wait_s is None or not self._within_cap(tier, call):
                raise
        await asyncio.sleep(wait_s)
        breaker.enter(last=True)
        return await self._attempt(tier, call, others)

    def _retry_wait_s(
        self, tier: str, error: TiffinError, context: RequestContext, others: tuple[str, ...]
    ) -> float | None:
        """Seconds to wait before the second attempt; None if there will be none.

        Retry-After is obeyed. A full queue of our own is not asked again: that is for the client.
        """
        full = isinstance(error, Overloaded) and not isinstance(error, Unavailable)
        if (
            is_callers(error)
            or isinstance(error, DeadlineExceeded)
            or self.failover.any_closed(others)
        ):
            return None
        if full and error.code != PROVIDER_OVERLOADED:
            return None
        jitter = 0.5 + random.random()  # noqa: S311  not a secret
        wait_s = max(RETRY_PAUSE_S * jitter, self.failover.breaker(tier).told_s())
        if wait_s >= context.begin_s() or not self.failover.budget(tier).spend():
            return None
        return wait_s

    async def _attempt(self, tier: str, call: _Call, others: tuple[str, ...]) -> Begun:
        running = self.meter.open(
            tier, call.decision, call.prompt_tokens, call.context, self._most_usd(tier, call)
        )
        context = running.span.within(call.context)
        if running.span:
            running.span.tell(genai.asked(running.attempt, call.request, whole=context.whole))
            if tracing.with_content():
                running.span.tell(genai.read(call.request))
        events = self._metered(running, call.request, context, others)
        return Begun(tier, await anext(events), events, running)

    async def _metered(
        self,
        running: Running,
        request: GenerateRequest,
        context: RequestContext,
        others: tuple[str, ...],
    ) -> AsyncGenerator[TokenEvent, None]:
        """The tier's events; the breaker and the bill learn how it ended, whichever way it does."""
        tier = running.attempt.tier
        finished: Finished | None = None
        outcome = ABANDONED
        try:
            async with aclosing(self.tiers[tier].generate(request, context)) as events:
                event: TokenEvent | None = await self._first_event(tier, events, context, others)
                await self.meter.first(running)
                self.failover.breaker(tier).succeeded()
                while event is not None:
                    _read(running, event)
                    if isinstance(event, Finished):
                        event = finished = self.meter.believed(running, event)
                    yield event
                    event = await anext(events, None)
            if finished is None:
                message = f"the {tier} tier broke off its answer"
                raise UpstreamFailed(message)
        except TiffinError as error:
            outcome = error.type
            self._tell_breaker(running.attempt, error)
            raise
        finally:
            if finished is not None:
                outcome = "ok"  # a reader that has the last event may not ask for the end
            elif outcome == ABANDONED:
                self.failover.breaker(tier).left()
            self.meter.close(running, outcome, finished)

    async def _first_event(
        self,
        tier: str,
        events: AsyncGenerator[TokenEvent, None],
        context: RequestContext,
        others: tuple[str, ...],
    ) -> TokenEvent:
        """Raises DeadlineExceeded early where another tier could still be asked."""
        allowed_s = context.begin_s()
        if self.failover.any_closed(others):
            allowed_s *= self.failover.settings.first_token_share
        try:
            async with asyncio.timeout(allowed_s):
                return await anext(events)
        except StopAsyncIteration:
            message = f"the {tier} tier ended without an answer"
            raise UpstreamFailed(message) from None
        except TimeoutError:
            message = f"the {tier} tier did not begin within {allowed_s:.1f} s"
            raise DeadlineExceeded(message) from None

    def _tell_breaker(self, attempt: Attempt, error: TiffinError) -> None:
        if isinstance(error, DeadlineExceeded) and attempt.ttft_ms is not None:
            return  # it began in time, and wrote for longer than the request allows
        tier = attempt.tier
        breaker = self.failover.breaker(tier)
        if is_callers(error):
            breaker.succeeded()  # it answered: the request is at fault
            return
        told = isinstance(error, RateLimited) or error.code == PROVIDER_OVERLOADED
        if not isinstance(error, Overloaded) or isinstance(error, Unavailable):
            logger.warning("a tier failed: %s", error.message, extra=logs.fields(tier=tier))
        breaker.failed(error.retry_after_s if told else None, error.message)

    async def _cascade(self, call: _Call, threshold: float) -> Begun:
        """The tier's whole answer, or the next stronger one's when it is unsure of its own."""
        request = probing = call.request
        if request.logprobs is None:
            probing = replace(request, logprobs=0)
        begun = await self._first_of((call.decision.tier,), replace(call, request=probing))
        events, late = [begun.first], None
        try:
            async with aclosing(begun.rest) as rest:
                async for event in rest:
                    events.append(event)  # noqa: PERF401  what came before an error counts
        except DeadlineExceeded as error:
            late = error  # the reader decides whether what is written by then is an answer
        confidence = _confidence(events) if late is None else None
        if confidence is not None and confidence < threshold:
            try:
                escalated = await self._first_of(tuple(call.decision.fallbacks), call)
            except TiffinError:
                pass  # the cheap answer is better than none
            else:
                self.meter.replaced(begun.running)
                return escalated
        kept = events if request.logprobs is not None else [_plain(event) for event in events]
        return Begun(begun.tier, kept[0], _replayed(kept[1:], late), begun.running)


def _beyond_cap(tiers: tuple[str, ...], decision: RouteDecision) -> InvalidRequest:
    message = (
        f"with what this request has cost so far, an answer of {' or '.join(tiers)} would exceed"
        f" the cap on a request, {decision.max_usd:g} USD"
    )
    return InvalidRequest(message, code=NO_TIER_SATISFIES)


def _read(running: Running, event: TokenEvent) -> None:
    """Count what was written, for the bill of a tier that does not."""
    if isinstance(event, TextDelta):
        running.chars += len(event.text)
        if running.span and tracing.with_content():
            running.text += event.text
    elif isinstance(event, ToolCallDelta):
        running.chars += len(event.arguments)


def _confidence(events: list[TokenEvent]) -> float | None:
    """The geometric mean of the tokens' probabilities; None where the tier tells none."""
    logprobs = [
        token.logprob
        for event in events
        if isinstance(event, TextDelta)
        for token in event.logprobs
    ]
    return math.exp(sum(logprobs) / len(logprobs)) if logprobs else None


def _plain(event: TokenEvent) -> TokenEvent:
    """Without the probabilities, which the client did not ask for."""
    return TextDelta(event.text) if isinstance(event, TextDelta) else event


async def _replayed(
    events: list[TokenEvent], error: TiffinError | None
) -> AsyncGenerator[TokenEvent, None]:
    for event in events:
        yield event
    if error is not None:
        raise error
