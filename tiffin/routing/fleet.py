"""The tiers of this Tiffin as policies see them: self-hosted or not, cheapest first.

`tiffin.routing.assembly` makes the fleet from the settings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from models.values import TokenUsage
from tiffin.routing.prices import Price

NOMINAL = TokenUsage(prompt_tokens=1000, completion_tokens=200)
NOMINAL_S = 2.0
"""Tiers are ordered by what an answer of this size costs."""

LEAST = TokenUsage(prompt_tokens=1, completion_tokens=1)


@dataclass(frozen=True)
class FleetTier:
    """One tier. `fallbacks` are in the order in which they are asked."""

    name: str
    model: str
    provider: str
    price: Price
    capabilities: frozenset[str]
    context_tokens: int
    max_in_flight: int | None
    quality: float
    fallbacks: tuple[str, ...]

    def most_usd(self, prompt_tokens: int, max_tokens: int, answer_s: float | None) -> float:
        """The cost of the longest answer allowed; `answer_s` is how long recent answers took."""
        usage = TokenUsage(prompt_tokens=prompt_tokens, completion_tokens=max_tokens)
        return self.price.usd(usage, NOMINAL_S if answer_s is None else answer_s)


@dataclass(frozen=True)
class Fleet:
    """All tiers by name, cheapest first; never empty."""

    tiers: Mapping[str, FleetTier]

    def __iter__(self) -> Iterator[FleetTier]:
        return iter(self.tiers.values())

    def __getitem__(self, name: str) -> FleetTier:
        return self.tiers[name]

    @cached_property
    def strongest(self) -> FleetTier:
        """The tier with the highest quality; among equals, the dearest."""
        return max(reversed(list(self)), key=lambda tier: tier.quality)
