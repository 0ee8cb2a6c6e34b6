"""The router's rules: a tier for a query from what can be read off its text.

Called by `services/router.py` beside retrieval. Every decision names the rule that made it.
"""

import re
from collections.abc import Sequence

from tiffin.errors import NotFound
from tiffin.transport.messages import RouteDecision

AUTO = "auto"

LONG_QUERY_WORDS = 60
"""A question this long carries context or several demands of its own."""

_CODE = re.compile(r"```|\bdef \w+\(|\bclass \w+[:(]|[{};]\s*$|\bSELECT\b.+\bFROM\b", re.MULTILINE)
_MATHS = re.compile(
    r"\\frac|\\sum|\\int|\d\s*[-+*/^=]\s*\d|\b(?:prove|derive|integral)\b", re.IGNORECASE
)
_REASONING = re.compile(
    r"\b(?:compare|contrast|explain why|step by step|trade-?offs?)\b", re.IGNORECASE
)


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
    demand = _demand(query)
    if demand is None or len(tiers) == 1:
        reason = "the only tier" if len(tiers) == 1 else "a plain question"
        return RouteDecision(tiers[0], reason, list(tiers[1:]))
    return RouteDecision(tiers[-1], demand, list(reversed(tiers[:-1])))


def _demand(query: str) -> str | None:
    """Why the query asks for the most capable tier, or None."""
    if _CODE.search(query):
        return "the question contains code"
    if _MATHS.search(query):
        return "the question contains mathematics"
    if _REASONING.search(query):
        return "the question asks for reasoning"
    if len(query.split()) > LONG_QUERY_WORDS:
        return f"the question is longer than {LONG_QUERY_WORDS} words"
    return None
