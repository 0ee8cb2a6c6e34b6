"""What a client may write in `model`: virtual models, tiers, and the names of the tiers' models."""

from collections.abc import Mapping

from tiffin.errors import NotFound
from tiffin.routing.rules import AUTO
from tiffin.transport.messages import RouteDecision

AUTO_FAST = "auto-fast"
AUTO_QUALITY = "auto-quality"
VIRTUAL = (AUTO, AUTO_FAST, AUTO_QUALITY)


def decide_by_name(model: str, models: Mapping[str, str]) -> RouteDecision | None:
    """The decision that the name alone makes; None for `auto`, which the router decides.

    `models` maps each tier to its model's name, cheapest tier first. A tier or a model that is
    named is asked and no other. Raises NotFound for a name that is none of these.
    """
    tiers = list(models)
    if model == AUTO:
        return None
    if model == AUTO_FAST:
        return RouteDecision(tiers[0], "the fastest was asked for", tiers[1:])
    if model == AUTO_QUALITY:
        best_first = tiers[::-1]
        return RouteDecision(best_first[0], "the most capable was asked for", best_first[1:])
    for tier, name in models.items():
        if model in (tier, name):
            return RouteDecision(tier, "named by the request", [])
    allowed = ", ".join(dict.fromkeys([*VIRTUAL, *tiers, *models.values()]))
    message = f"model: {model!r} is not served here; use one of: {allowed}"
    raise NotFound(message, param="model", code="model_not_found")
