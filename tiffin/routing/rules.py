"""The router's rules: what can be read off a query's text, before any model looks at it.

Called by `tiffin.routing.decide`, and by the entry service alone when the Router does not answer.
Every decision names the rule that made it.
"""

from collections.abc import Sequence

from tiffin.errors import NotFound
from tiffin.routing.features import CODE, MATHS, REASONING, text_features
from tiffin.transport.messages import RouteDecision

AUTO = "auto"

LONG_QUERY_WORDS = 60
"""A question this long carries context or several demands of its own."""

MANY_FOREIGN_LETTERS = 0.3
"""From this share of letters outside ASCII on, a small model trained on English is out of its
depth."""


def decide(query: str, model: str, tiers: Sequence[str]) -> RouteDecision:
    """The tier for this query. `tiers` are those that serve, cheapest first; never empty.

    `model` is a tier's name, which pins it, or `auto`. Raises NotFound for any other name.
    """
    if model != AUTO:
        if model not in tiers:
            allowed = ", ".join([AUTO, *tiers])
            message = f"model: no tier {model!r} is served here; use one of: {allowed}"
            raise NotFound(message, param="model", code="model_not_found")
        return RouteDecision(model, "named by the request", [])
    demand = demand_of(query)
    if demand is None or len(tiers) == 1:
        reason = "the only tier" if len(tiers) == 1 else "a plain question"
        return RouteDecision(tiers[0], reason, list(tiers[1:]))
    return RouteDecision(tiers[-1], demand, list(reversed(tiers[:-1])))


def demand_of(query: str) -> str | None:
    """Why the query asks for the most capable tier, or None."""
    if CODE.search(query):
        return "the question contains code"
    if MATHS.search(query):
        return "the question contains mathematics"
    if REASONING.search(query):
        return "the question asks for reasoning"
    if len(query.split()) > LONG_QUERY_WORDS:
        return f"the question is longer than {LONG_QUERY_WORDS} words"
    if text_features(query)["other_script"] > MANY_FOREIGN_LETTERS:
        return "the question is not in the Latin alphabet"
    return None
