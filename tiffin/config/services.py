"""Which services a profile runs, and which of them each one calls."""

from tiffin.config.settings import Settings
from tiffin.deploy.errors import DeployError

ENTRY = "RAG"
TIER_SERVICES = {"small": "SmallLLM", "large": "LargeLLM"}


def dependencies(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Every service of the profile with those it calls; the entry service last."""
    tiers = [TIER_SERVICES[tier] for tier in settings.tiers]
    inner = ("Embedding", "Reranker", "Router", *tiers)
    return {**dict.fromkeys(inner, ()), ENTRY: inner}


def sleepers(settings: Settings) -> frozenset[str]:
    """The services that may have no replica where they run apart."""
    return frozenset(name for name, scaling in settings.scaling.items() if scaling.min == 0)


def check_service(service: str, settings: Settings) -> None:
    """Raise DeployError unless the profile runs a service of this name."""
    known = dependencies(settings)
    if service not in known:
        message = f"{service}: profile {settings.profile} has no such service; it has: "
        raise DeployError(message + ", ".join(known))
