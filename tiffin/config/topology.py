"""Which services a profile runs, and which of them each one calls."""

from tiffin.config.section import SettingsError
from tiffin.config.services import ENTRY, SERVICES
from tiffin.config.settings import Settings


def dependencies(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Every service of the profile with those it calls; the entry service last."""
    served = [
        row.name
        for row in SERVICES
        if (row.tier is None or row.tier in settings.tiers)
        and (row.task != "safety" or settings.safety.enabled)
    ]
    inner = tuple(name for name in served if name != ENTRY)
    return {**dict.fromkeys(inner, ()), ENTRY: inner}


def sleepers(settings: Settings) -> frozenset[str]:
    """The services that may have no replica when services run separately."""
    return frozenset(name for name, scaling in settings.scaling.items() if scaling.min == 0)


def check_service(service: str, settings: Settings) -> None:
    """Raise SettingsError unless the profile runs a service of this name."""
    known = dependencies(settings)
    if service not in known:
        message = f"{service}: profile {settings.profile} has no such service; it has: "
        raise SettingsError(message + ", ".join(known))
