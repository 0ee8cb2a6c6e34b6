"""Chooses a tier: what each can do and would cost, what rules it out, and the best of the rest.

It is a pure function of its arguments, so that `tiffin router replay` runs the same code over
recorded requests as the Router over live ones.
"""

from collections.abc import Callable, Sequence

import msgspec

from tiffin.config.routing import CapSettings, PolicySettings
from tiffin.core.errors import NO_TIER_SATISFIES, InvalidRequest, SpendingCapReached, TiffinError
from tiffin.core.messages import (
    Alternative,
    Complexity,
    RouteDecision,
    RouteRequest,
    TierState,
)
from tiffin.routing.caps import Kind, Refusal, too_dear, wait_s
from tiffin.routing.fleet import Fleet, FleetTier

NO_POLICY = PolicySettings()
NOT_JUDGED = Complexity("simple", 0.0, 1.0, "not judged")
"""The complexity of a request that names its tier."""


class _Option(msgspec.Struct, frozen=True):
    tier: FleetTier
    p_suffices: float
    usd: float
    ttft_ms: float | None
    refusals: Sequence[Refusal]

    def refused_for(self, *kinds: Kind) -> bool:
        return any(refusal.kind in kinds for refusal in self.refusals)

    def shown(self) -> Alternative:
        refused = "; ".join(refusal.reason for refusal in self.refusals) or None
        return Alternative(
            self.tier.name, round(self.p_suffices, 4), self.usd, self.ttft_ms, refused
        )


def choose(  # noqa: PLR0917  all that a choice depends on
    name: str,
    policy: PolicySettings,
    complexity: Complexity,
    request: RouteRequest,
    fleet: Fleet,
    caps: CapSettings,
) -> RouteDecision:
    """The tier that the policy called `name` chooses, the reason, and the fallbacks.

    Raises InvalidRequest if no tier can do what the request needs within the cap on a request, and
    SpendingCapReached if the day's money is spent.
    """
    options = [_option(tier, policy, complexity, request, fleet, caps) for tier in fleet]
    able = [option for option in options if not option.refused_for("cannot", "spent")]
    if not able:
        raise _nothing_left(options, request)
    chosen, reason = _best(_willing(able), policy)
    if not any(option.p_suffices >= policy.target_quality for option in able):
        reason += "; none reaches the target quality"
    names = {option.tier.name for option in able}
    return RouteDecision(
        tier=chosen.tier.name,
        reason=reason,
        fallbacks=[other for other in chosen.tier.fallbacks if other in names],
        policy=name,
        complexity=complexity,
        alternatives=[option.shown() for option in options],
        escalate_below=policy.escalate_below if request.whole else None,
        max_usd=_request_cap(policy, caps),
    )


def permit(tier: FleetTier, request: RouteRequest, caps: CapSettings) -> float | None:
    """The most that a request naming this tier may cost. Raises as `choose` does."""
    option = _option(tier, NO_POLICY, NOT_JUDGED, request, Fleet({tier.name: tier}), caps)
    if option.refused_for("cannot", "spent"):
        raise _nothing_left([option], request)
    return _request_cap(NO_POLICY, caps)


def p_suffices(tier: FleetTier, complexity: Complexity) -> float:
    """The probability that the tier's answer suffices.

    A tier answers the share `quality` of the cheapest tier's failures correctly.
    """
    return 1 - (1 - complexity.p_cheap) * (1 - tier.quality)


def _option(  # noqa: PLR0917  as `choose`
    tier: FleetTier,
    policy: PolicySettings,
    complexity: Complexity,
    request: RouteRequest,
    fleet: Fleet,
    caps: CapSettings,
) -> _Option:
    state = request.tiers.get(tier.name, TierState())
    one = tier.most_usd(request.prompt_tokens, request.max_tokens, state.answer_s)
    usd = one * request.answers
    refusals = [
        *_cannot(tier, request),
        *too_dear(usd, policy, request, caps),
        *_unwanted(tier, policy, state, request, fleet),
        *_busy(tier, state),
    ]
    return _Option(tier, p_suffices(tier, complexity), usd, state.ttft_ms, refusals)


def _cannot(tier: FleetTier, request: RouteRequest) -> list[Refusal]:
    refusals = [
        Refusal("cannot", f"lacks {need}")
        for need in request.needs
        if need not in tier.capabilities
    ]
    if request.allowed is not None and tier.name not in request.allowed:
        refusals.append(Refusal("cannot", "this key may not use it"))
    if request.prompt_tokens >= tier.context_tokens:
        # Our count is an estimate, so this only discourages: the tier itself counts exactly.
        reason = f"reads {tier.context_tokens} tokens, the prompt has about {request.prompt_tokens}"
        refusals.append(Refusal("policy", reason))
    return refusals


def _request_cap(policy: PolicySettings, caps: CapSettings) -> float | None:
    set_caps = (cap for cap in (policy.max_request_usd, caps.request_usd) if cap is not None)
    return min(set_caps, default=None)


def _unwanted(
    tier: FleetTier,
    policy: PolicySettings,
    state: TierState,
    request: RouteRequest,
    fleet: Fleet,
) -> list[Refusal]:
    refusals = []
    if policy.pin not in (None, tier.name):
        refusals.append(Refusal("policy", f"the policy pins {policy.pin}"))
    slow = policy.max_ttft_ms is not None and (state.ttft_ms or 0.0) > policy.max_ttft_ms
    if slow:
        reason = f"recent first tokens took {state.ttft_ms:.0f} ms, over {policy.max_ttft_ms:g}"
        refusals.append(Refusal("policy", reason))
    share = policy.max_strong_share
    if share is not None and tier == fleet.strongest and request.strong_share >= share:
        reason = f"had {request.strong_share:.0%} of recent requests, over {share:.0%}"
        refusals.append(Refusal("policy", reason))
    return refusals


def _busy(tier: FleetTier, state: TierState) -> list[Refusal]:
    if not state.available:
        return [Refusal("busy", "has not been answering")]
    if tier.max_in_flight is not None and state.waiting >= tier.max_in_flight:
        return [Refusal("busy", f"has {state.waiting} requests in flight, its limit")]
    return []


def _willing(able: list[_Option]) -> list[_Option]:
    """The options with nothing against them; else those that answer; else all."""
    kinds: tuple[tuple[Kind, ...], ...] = (("policy", "busy"), ("busy",))
    for against in kinds:
        willing = [option for option in able if not option.refused_for(*against)]
        if willing:
            return willing
    return able


def _best(willing: list[_Option], policy: PolicySettings) -> tuple[_Option, str]:
    if len(willing) == 1:
        return willing[0], "the only tier" if not willing[0].refusals else "the only tier left"
    enough = [option for option in willing if option.p_suffices >= policy.target_quality]
    if not enough:
        chosen = max(willing, key=lambda option: (option.p_suffices, -option.usd))
        return chosen, f"the strongest, which is expected to suffice with {chosen.p_suffices:.2f}"
    orders: dict[str, Callable[[_Option], tuple[float, ...]]] = {
        # Among equals, such as tiers without prices, the first wins: the fleet is cheapest first.
        "cheapest": lambda option: (option.usd,),
        "fastest": lambda option: (option.ttft_ms or 0.0, option.usd),
        "best": lambda option: (-option.p_suffices, option.usd),
    }
    chosen = min(enough, key=orders[policy.prefer])
    reason = f"the {policy.prefer} that is expected to suffice with {policy.target_quality:g}"
    return chosen, f"{reason}: {chosen.p_suffices:.2f}"


def _nothing_left(options: list[_Option], request: RouteRequest) -> TiffinError:
    """The error that says what rules out each tier."""
    why = " ".join(f"{o.tier.name}: {o.shown().refused}." for o in options)
    if any(option.refused_for("spent") and not option.refused_for("cannot") for option in options):
        message = f"the spending cap is reached. {why}"
        wait = wait_s([option.refusals for option in options], request.spent.at)
        return SpendingCapReached(message, code="spending_cap_reached", retry_after_s=wait)
    return InvalidRequest(f"no tier can answer this. {why}", code=NO_TIER_SATISFIES)
