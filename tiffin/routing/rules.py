"""The router's rules: what a query's text tells before any model looks at it.

Called by `tiffin.routing.decide`, and by the entry service alone if the Router does not answer.
Every decision names the rule that made it.
"""

from collections.abc import Sequence

from tiffin.core.messages import RouteDecision
from tiffin.core.names import AUTO_FAST, AUTO_QUALITY
from tiffin.routing.features import CODE, LONG_CHARS, MATHS, REASONING, other_script

LONG_QUERY_WORDS = 60
"""A question longer than this brings its own context or asks for several things."""

MANY_FOREIGN_LETTERS = 0.3
"""If this share of the letters is not ASCII, a small model trained on English is out of its
depth."""


def decide(query: str, model: str, tiers: Sequence[str]) -> RouteDecision:
    """The tier for this query. `tiers` are those that serve, cheapest first; never empty.

    `model` names a tier, which pins it, or a policy. Only the preset policies are known here; any
    other is treated as `auto`.
    """
    if model in tiers:
        return RouteDecision(model, "named by the request", [])
    if model == AUTO_FAST:
        return RouteDecision(tiers[0], "the fastest was asked for", list(tiers[1:]))
    if model == AUTO_QUALITY:
        best_first = tiers[::-1]
        return RouteDecision(best_first[0], "the best was asked for", list(best_first[1:]))
    demand = demand_of(query)
    if demand is None or len(tiers) == 1:
        reason = "the only tier" if len(tiers) == 1 else "a plain question"
        return RouteDecision(tiers[0], reason, list(tiers[1:]))
    return RouteDecision(tiers[-1], demand, list(reversed(tiers[:-1])))


def demand_of(query: str, *, judged: bool = False) -> str | None:
    """Why the query needs the most capable tier, or None.

    If the complexity model has `judged` the query too, mathematics and length are left to it,
    because it learned from thousands of such queries. It saw too little code, reasoning and other
    alphabets.
    """
    if CODE.search(query):
        return "the question contains code"
    if REASONING.search(query):
        return "the question asks for reasoning"
    if other_script(query[:LONG_CHARS]) > MANY_FOREIGN_LETTERS:
        return "the question is not in the Latin alphabet"
    return None if judged else _demand_if_unjudged(query)


def _demand_if_unjudged(query: str) -> str | None:
    if MATHS.search(query):
        return "the question contains mathematics"
    if len(query.split()) > LONG_QUERY_WORDS:
        return f"the question is longer than {LONG_QUERY_WORDS} words"
    return None
