"""One routing decision, from the query to the record: rules, complexity model, policy.

    query -> rules -------.
    query + embedding -----+-> complexity -> policy (with prices, states, caps) -> RouteDecision

The Router service asks a `Decider`; the entry service asks one without a model if the Router does
not answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tiffin.config.routing import CapSettings, PolicySettings
from tiffin.core.errors import NotFound
from tiffin.core.messages import Complexity, RouteDecision, RouteRequest
from tiffin.routing import rules
from tiffin.routing.complexity import ComplexityModel, level_of
from tiffin.routing.features import text_features
from tiffin.routing.fleet import Fleet, FleetTier
from tiffin.routing.policy import choose, permit

P_CHEAP_BY_RULE = 0.5
"""The probability for a question that a rule finds demanding, unless the model's is lower."""

P_CHEAP_UNJUDGED = 0.85
"""The probability for any other question if no model judges it."""


@dataclass(frozen=True)
class Decider:
    """Decides for one fleet. Without a `model` the rules alone judge the complexity."""

    fleet: Fleet
    policies: Mapping[str, PolicySettings]
    caps: CapSettings
    model: ComplexityModel | None

    def decide(self, request: RouteRequest) -> RouteDecision:
        """The decision and its record.

        Raises NotFound for a model name that is neither a tier nor a policy, and what
        `tiffin.routing.policy.choose` raises.
        """
        if named := self.fleet.tiers.get(request.model):
            return self._named(request, named)
        policy = self.policies.get(request.model)
        if policy is None:
            allowed = ", ".join([*self.policies, *self.fleet.tiers])
            message = f"model: no tier {request.model!r} is served here; use one of: {allowed}"
            raise NotFound(message, param="model", code="model_not_found")
        features = text_features(request.query) if self.model else {}  # only it reads them
        complexity = self.judge(request, features)
        decision = choose(request.model, policy, complexity, request, self.fleet, self.caps)
        return msgspec.structs.replace(decision, features=features)

    def _named(self, request: RouteRequest, tier: FleetTier) -> RouteDecision:
        """The tier that the request names, if it can answer within the caps.

        There is nothing to choose, so the query is not judged.
        """
        max_usd = permit(tier, request, self.caps)
        return RouteDecision(tier.name, "named by the request", [], max_usd=max_usd)

    def judge(self, request: RouteRequest, features: Mapping[str, float]) -> Complexity:
        """The complexity. A rule comes first; the model may only find the query harder."""
        vector = None if request.vector is None else request.vector.numpy()
        judged = self.model.judge(features, vector) if self.model else None
        demand = rules.demand_of(request.query, judged=judged is not None)
        if demand is None:
            return judged or _by_rule(P_CHEAP_UNJUDGED, "a plain question")
        if judged is not None and judged.p_cheap < P_CHEAP_BY_RULE:
            return judged
        return _by_rule(P_CHEAP_BY_RULE, demand)


def _by_rule(p_cheap: float, rule: str) -> Complexity:
    return Complexity(level_of(p_cheap), round(1 - p_cheap, 4), p_cheap, f"rule: {rule}")
