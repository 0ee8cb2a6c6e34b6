"""What a client may write in `model`: a policy, a tier, or the name of a tier's model.

Called by `tiffin.gateway` before anything else is done for a request.
"""

from collections.abc import Iterable, Mapping

from tiffin.core.errors import Forbidden, NotFound
from tiffin.core.grant import Grant
from tiffin.core.names import AUTO

UNNAMED = frozenset({"dummy", "tgi"})
"""What Hugging Face's clients send if their user named no model: the router chooses then."""


def routed_name(model: str, models: Mapping[str, str], policies: Iterable[str]) -> str:
    """The name that the router knows: a policy such as `auto`, or the tier that is meant.

    `models` maps each tier to its model's name. Raises NotFound, which lists the known names.
    """
    policies = list(policies)
    if model in policies or model in models:
        return model
    for tier, name in models.items():
        if model == name:
            return tier
    if model in UNNAMED:
        return AUTO
    allowed = ", ".join(dict.fromkeys([*policies, *models, *models.values()]))
    message = f"model: {model!r} is not served here; use one of: {allowed}"
    raise NotFound(message, param="model", code="model_not_found")


def check_allowed(grant: Grant, model: str, lane: str, tiers: Iterable[str]) -> None:
    """Raise Forbidden for a model that the key may not use; `lane` is its tier or policy.

    Which tiers a policy may choose is for the policy to say.
    """
    if grant.models is not None and not {model, lane} & set(grant.models):
        raise _not(model, grant.models)
    if grant.tiers is not None and lane in tiers and lane not in grant.tiers:
        raise _not(lane, grant.tiers)


def _not(name: str, allowed: list[str]) -> Forbidden:
    message = f"model: this key may use {', '.join(allowed)}, not {name!r}"
    return Forbidden(message, param="model", code="model_not_allowed")
