"""Makes the fleet and the decider out of the settings; refuses what cannot work.

Called at start by the Router, which chooses by them, and by the entry service, which asks and bills
by them; also by `tiffin router replay`.
"""

import logging
from collections.abc import Mapping

from tiffin.config.routing import (
    VISION,
    PolicySettings,
    PriceSettings,
    ProviderSettings,
    TierCard,
)
from tiffin.config.section import SettingsError
from tiffin.config.serving import TierSettings
from tiffin.config.settings import Settings
from tiffin.routing.complexity import SHIPPED, ComplexityModel
from tiffin.routing.decide import Decider
from tiffin.routing.fleet import LEAST, NOMINAL, NOMINAL_S, Fleet, FleetTier
from tiffin.routing.prices import Price

logger = logging.getLogger(__name__)


def fleet_of(settings: Settings) -> Fleet:
    """The tiers that the settings name. Raises SettingsError when they contradict each other."""
    cards = _cards(settings)
    _check_names(settings)
    _check_vision(settings)
    prices = {name: _price(card.price) for name, card in cards.items()}
    ordered = sorted(cards, key=lambda name: prices[name].usd(NOMINAL, NOMINAL_S))
    tiers = {}
    for rank, name in enumerate(ordered):
        card = cards[name]
        provider = card if isinstance(card, ProviderSettings) else None
        even = rank / max(1, len(ordered) - 1)
        tiers[name] = FleetTier(
            name=name,
            model=card.model,
            provider=provider.provider if provider else "tiffin",
            price=prices[name],
            capabilities=frozenset(card.capabilities),
            context_tokens=card.context_tokens,
            max_in_flight=provider.max_in_flight if provider else None,
            quality=even if card.quality is None else card.quality,
            fallbacks=_fallbacks(name, rank, ordered, card),
        )
    fleet = Fleet(tiers)
    _check_cycles(cards)
    for name, policy in settings.routing.policies.items():
        _check_policy(name, policy, fleet, settings)
    return fleet


def _cards(settings: Settings) -> dict[str, TierSettings | ProviderSettings]:
    """What the settings say of each tier, our own and the providers', by its name."""
    return {**{str(name): tier for name, tier in settings.tiers.items()}, **settings.providers}


def decider_of(settings: Settings, *, with_model: bool = True) -> Decider:
    """The decider that the settings describe. Raises SettingsError and ComplexityModelError."""
    routing = settings.routing
    path = routing.complexity_model or SHIPPED
    model = ComplexityModel.load(path) if with_model else None
    fleet = fleet_of(settings)
    if with_model:
        _warn_of_guesses(fleet, settings)
    return Decider(fleet, routing.policies, routing.caps, model)


def _warn_of_guesses(fleet: Fleet, settings: Settings) -> None:
    """Say of which tiers the quality is only what their place by price suggests."""
    cards = _cards(settings)
    unknown = [tier.name for tier in list(fleet)[1:] if cards[tier.name].quality is None]
    if unknown:
        logger.warning(
            "routing takes the order of prices for quality, because `quality` is not set for %s:"
            " measure it with `tiffin eval answers --model TIER`",
            ", ".join(unknown),
        )


def _price(price: PriceSettings) -> Price:
    """The price that the settings say; a cache's prices are those of the input unless given."""
    cached, write = price.cached_input_usd_per_mtok, price.cache_write_usd_per_mtok
    return Price(
        input_usd_per_mtok=price.input_usd_per_mtok,
        cached_input_usd_per_mtok=price.input_usd_per_mtok if cached is None else cached,
        cache_write_usd_per_mtok=price.input_usd_per_mtok if write is None else write,
        output_usd_per_mtok=price.output_usd_per_mtok,
        gpu_usd_per_hour=price.gpu_usd_per_hour,
    )


def _check_names(settings: Settings) -> None:
    reserved = {*settings.routing.policies, *settings.tiers}
    for name in settings.providers:
        if name in reserved:
            message = f"providers.{name}: the name is taken by a tier or a policy; use another"
            raise SettingsError(message)
    for name in settings.routing.policies:
        if name in settings.tiers:
            message = f"routing.policies.{name}: the name is taken by a tier; use another"
            raise SettingsError(message)


def _check_vision(settings: Settings) -> None:
    for name, tier in settings.tiers.items():
        if VISION in tier.capabilities:
            message = (
                f"tiers.{name}.capabilities: vision is for providers: no engine here reads images"
            )
            raise SettingsError(message)


def _fallbacks(name: str, rank: int, ordered: list[str], card: TierCard) -> tuple[str, ...]:
    """The fallbacks named, or else all others: stronger ones first, the nearest of each first."""
    if card.fallbacks is None:
        return (*ordered[rank + 1 :], *reversed(ordered[:rank]))
    for other in card.fallbacks:
        if other not in ordered:
            message = f"tier {name}: fallback {other!r} is not a tier; use: {', '.join(ordered)}"
            raise SettingsError(message)
    return card.fallbacks


def _check_cycles(cards: Mapping[str, TierCard]) -> None:
    """Refuse fallbacks that lead back to the tier they start from."""
    for start in cards:
        path, names = [start], list(cards[start].fallbacks or ())
        seen: set[str] = set()
        while names:
            name = names.pop()
            if name == start:
                raise SettingsError(f"tier {start}: its fallbacks lead back to it, by {path[-1]}")
            if name not in seen:
                seen.add(name)
                path.append(name)
                names += cards[name].fallbacks or ()


def _check_policy(name: str, policy: PolicySettings, fleet: Fleet, settings: Settings) -> None:
    """Refuse a policy that no request could ever satisfy."""
    if policy.pin is not None and policy.pin not in fleet.tiers:
        message = f"pin {policy.pin!r} is not a tier; use one of: {', '.join(fleet.tiers)}"
        raise SettingsError(f"routing.policies.{name}: {message}")
    caps = [cap for cap in (policy.max_request_usd, settings.routing.caps.request_usd) if cap]
    chosen = [fleet[policy.pin]] if policy.pin else list(fleet)
    least = min(tier.price.usd(LEAST) for tier in chosen)
    if caps and least > min(caps):
        message = f"nothing satisfies it: the cheapest answer costs {least:.2g} USD, the cap is"
        raise SettingsError(f"routing.policies.{name}: {message} {min(caps):.2g} USD")
    if policy.max_strong_share == 0 and len(chosen) == 1:
        message = "nothing satisfies it: its only tier is the strongest, and max_strong_share is 0"
        raise SettingsError(f"routing.policies.{name}: {message}")
