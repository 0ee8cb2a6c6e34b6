"""How the entry service comes to a decision: it adds what it saw of the tiers and asks the Router.

The route stage of a question and `tiffin.pipeline.chat` call `route`. If the Router does not
answer, the same policy decides here, without the complexity model.
"""

from collections.abc import Container
from dataclasses import dataclass

from msgspec.structs import replace

from models.values import GenerateRequest
from tiffin.clients import RouterClient
from tiffin.config.routing import VISION
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import RECOVERABLE, UpstreamFailed
from tiffin.core.messages import RouteDecision, RouteRequest, TierState
from tiffin.routing.decide import Decider
from tiffin.routing.ledger import Recorded
from tiffin.routing.meter import Meter, answer_tokens, prompt_tokens
from tiffin.traffic.failover import Failover

ROUTER_S = 0.5
"""If the Router takes longer than this, the decision is made here."""


@dataclass(frozen=True)
class Routing:
    """Makes the decisions of one entry service."""

    router: RouterClient
    decider: Decider
    meter: Meter
    failover: Failover

    async def route(self, request: RouteRequest, context: RequestContext) -> RouteDecision:
        """The decision, which is also put on the request's bill and recorded for replay.

        Raises NotFound, InvalidRequest and SpendingCapReached as the policy does.
        """
        seen = self._seen(request, context)
        if self._has_choice(request):
            decision = await self._decide(seen, context)
        else:
            # A tier that is named, or the only one: the Router would find out nothing of use.
            decision = self.decider.decide(seen)
        self.meter.decided(context, _recorded(seen, decision))
        return decision

    def _seen(self, request: RouteRequest, context: RequestContext) -> RouteRequest:
        """The request with the state of the tiers and the money spent."""
        return replace(
            request,
            tiers={tier.name: self._state(tier.name) for tier in self.decider.fleet},
            spent=self.meter.spent(context),
            allowed=context.grant.tiers,
            budgets=dict[str, float](context.grant.budgets.items()),
            strong_share=self.meter.strong_share(),
        )

    async def _decide(self, request: RouteRequest, context: RequestContext) -> RouteDecision:
        try:
            decision = await self.router.route(request, _within(context, ROUTER_S))
            return _checked(decision, self.decider.fleet.tiers)
        except RECOVERABLE:
            return replace(self.decider.decide(request), degraded=True)

    def _has_choice(self, request: RouteRequest) -> bool:
        """Whether the query's complexity can change the decision."""
        fleet = self.decider.fleet
        return len(fleet.tiers) > 1 and request.model not in fleet.tiers

    def _state(self, tier: str) -> TierState:
        figures = self.meter.of(tier)
        return TierState(
            available=not self.failover.breaker(tier).is_open,
            ttft_ms=figures.ttft_ms,
            answer_s=figures.answer_s,
            waiting=figures.in_flight,
        )


def _within(context: RequestContext, seconds: float) -> RequestContext:
    """The same request with a deadline at most this many seconds away."""
    deadline = Deadline.after(min(seconds, context.deadline.remaining()))
    return replace(context, deadline=deadline)


def _recorded(request: RouteRequest, decision: RouteDecision) -> Recorded:
    return Recorded(
        decision, request.model, request.needs, request.prompt_tokens, request.max_tokens
    )


def _checked(decision: RouteDecision, tiers: Container[str]) -> RouteDecision:
    """The decision. Raises UpstreamFailed when it names a tier that is not served here."""
    for tier in (decision.tier, *decision.fallbacks):
        if tier not in tiers:
            raise UpstreamFailed(f"the router chose a tier that is not served: {tier}")
    return decision


def ask_of(
    query: str, model: str, request: GenerateRequest, *, whole: bool, answers: int = 1
) -> RouteRequest:
    """The routing request for a generation that a client wrote itself, such as a chat."""
    needs = {
        "tools": bool(request.tools),
        "json_schema": request.json_schema is not None,
        "logprobs": request.logprobs is not None,
        "completion": request.prompt is not None,
        VISION: any(message.images for message in request.messages),
    }
    return RouteRequest(
        query,
        model,
        needs=[capability for capability, needed in needs.items() if needed],
        prompt_tokens=prompt_tokens(request),
        max_tokens=answer_tokens(request),
        whole=whole,
        answers=answers,
    )
