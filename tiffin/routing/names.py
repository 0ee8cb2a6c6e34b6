"""What a client may write in `model`: a policy, a tier, or the name of a tier's model."""

from collections.abc import Iterable, Mapping

from tiffin.core.errors import NotFound
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
