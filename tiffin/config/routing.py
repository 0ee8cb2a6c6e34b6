"""Settings of routing: what tiers cost and can do, who serves them, and the policies.

Tiers that Tiffin serves itself are listed under `tiers`, those of API providers under `providers`.
Policies treat both alike. `tiffin.routing.fleet` checks them together.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tiffin.config.section import Count, Section, SettingsError
from tiffin.core.names import AUTO, AUTO_FAST, AUTO_QUALITY

Capability = Literal["tools", "json_schema", "vision", "logprobs", "completion"]
VISION: Capability = "vision"
"""The capability to read images."""

ProviderKind = Literal["openai", "anthropic", "google", "openai-compatible"]

KEY_VARIABLES: dict[str, str] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GEMINI_API_KEY",
}
"""Where a provider's key is read from unless the tier names another variable."""

Share = Annotated[float, Field(ge=0, le=1)]

UNITS = (
    "a price needs its unit: give input_usd_per_mtok and output_usd_per_mtok (and, if they"
    " differ, cached_input_usd_per_mtok and cache_write_usd_per_mtok), or gpu_usd_per_hour"
)


class PriceSettings(Section):
    """What a tier costs: US dollars per million tokens, or per hour of the GPUs it keeps busy."""

    input_usd_per_mtok: Annotated[float, Field(ge=0)] = 0.0
    """US dollars per million prompt tokens."""
    cached_input_usd_per_mtok: Annotated[float | None, Field(ge=0)] = None
    """The same for tokens read from a cache; if unset, as input."""
    cache_write_usd_per_mtok: Annotated[float | None, Field(ge=0)] = None
    """The same for tokens written to a cache; if unset, as input."""
    output_usd_per_mtok: Annotated[float, Field(ge=0)] = 0.0
    """US dollars per million tokens of answers."""
    gpu_usd_per_hour: Annotated[float, Field(ge=0)] = 0.0
    """US dollars per hour of its GPUs, charged for the time of each answer and split among
    simultaneous ones."""

    @model_validator(mode="before")
    @classmethod
    def _needs_units(cls, value: Any) -> Any:  # noqa: ANN401  what the profile holds
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict) or not set(value) <= set(cls.model_fields):
            raise ValueError(UNITS)
        tokens = {"input_usd_per_mtok", "output_usd_per_mtok"} & set(value)
        if len(tokens) == 1:
            raise ValueError(UNITS)
        return value


class TierCard(Section):
    """What a policy knows about a tier, no matter who serves it."""

    price: PriceSettings = PriceSettings()
    capabilities: tuple[Capability, ...] = ("tools", "json_schema", "logprobs", "completion")
    """What the tier can do; a request that needs more goes to another."""
    quality: Annotated[float | None, Field(ge=0, le=1)] = None
    """Share of the weakest tier's failures that this tier answers correctly; if unset, tiers are
    spaced evenly by price, 0 for the cheapest and 1 for the dearest."""
    fallbacks: tuple[str, ...] | None = None
    """Tiers to try in order if this one fails; if unset, all others, nearest first."""


class ProviderSettings(TierCard):
    """A tier of an API provider. Its key comes from the environment, never from the settings."""

    provider: ProviderKind
    """The protocol that it speaks."""
    model: Annotated[str, Field(min_length=1)]
    """The provider's name for the model."""
    base_url: Annotated[str | None, Field(pattern="^https?://")] = None
    """Required for openai-compatible; otherwise the provider's own by default."""
    key_env: str | None = None
    """Environment variable with the key; if unset, the provider's usual one."""
    price: PriceSettings
    capabilities: tuple[Capability, ...] = ("tools", "json_schema")
    context_tokens: Annotated[int, Field(ge=256)] = 128_000
    max_output_tokens: Count = 4096
    max_in_flight: Annotated[int, Field(ge=1)] = 64
    """Requests in flight at once; more go to another tier."""

    @model_validator(mode="after")
    def _needs_url(self) -> "ProviderSettings":
        if self.provider == "openai-compatible" and self.base_url is None:
            raise ValueError("base_url is needed for provider openai-compatible")
        return self


def check_keys(providers: Mapping[str, ProviderSettings]) -> None:
    """Raise SettingsError if a provider's key is missing. Only its caller needs the key."""
    for name, provider in providers.items():
        variable = key_variable(provider)
        if variable is not None and not os.environ.get(variable):
            message = (
                f"providers.{name}: no key: set {variable}, or name another variable in key_env"
            )
            raise SettingsError(message)


def key_variable(provider: ProviderSettings) -> str | None:
    """The environment variable with the key, or None if no key is needed."""
    return provider.key_env or KEY_VARIABLES.get(provider.provider)


class PolicySettings(Section):
    """How a tier is chosen. All limits apply together; `prefer` decides among the tiers left."""

    prefer: Literal["cheapest", "fastest", "best"] = "cheapest"
    """Which of the tiers that reach the target quality to take."""
    target_quality: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Least probability that the answer is good enough."""
    pin: str | None = None
    """Always use this tier."""
    max_request_usd: Annotated[float | None, Field(gt=0)] = None
    """Most that one request may cost."""
    max_ttft_ms: Annotated[float | None, Field(gt=0)] = None
    """Longest recent time to first token of a tier."""
    max_strong_share: Annotated[float | None, Field(ge=0, le=1)] = None
    """Largest share of recent requests for the strongest tier."""
    escalate_below: Annotated[float | None, Field(gt=0, lt=1)] = None
    """Cascade, for answers that are not streamed: ask the next stronger tier when the mean
    probability of the answer's tokens is below this."""


def _presets() -> dict[str, PolicySettings]:
    return {
        AUTO: PolicySettings(),
        AUTO_FAST: PolicySettings(prefer="fastest", target_quality=0.6),
        AUTO_QUALITY: PolicySettings(target_quality=0.95),
    }


class CapSettings(Section):
    """What may be spent, in US dollars. Without a value there is no limit."""

    request_usd: Annotated[float | None, Field(gt=0)] = None
    """US dollars that one request may cost."""
    key_day_usd: Annotated[float | None, Field(gt=0)] = None
    """US dollars that one API key may spend a UTC day."""
    day_usd: Annotated[float | None, Field(gt=0)] = None
    """US dollars that all requests may cost a UTC day."""


class FailoverSettings(Section):
    """What happens when a tier does not answer: the retry budget and the circuit breaker."""

    retry_share: Share = 0.1
    """Retry budget: retries of a tier as a share of its requests."""
    breaker_failures: Annotated[int, Field(ge=1)] = 5
    """Failures in a row that open a tier's circuit breaker."""
    breaker_open_ms: Annotated[int, Field(ge=1)] = 5000
    """How long it stays open; then one request tries the tier."""
    first_token_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Share of the time left in which a tier must begin to answer, as long as another tier could
    still be asked."""


class RoutingSettings(Section):
    """Which tier answers, and what it may cost."""

    policies: dict[str, PolicySettings] = Field(default_factory=_presets)
    """Policies by the model name that selects them, besides the presets."""
    complexity_model: Path | None = None
    """File made by `tiffin router train`; if unset, the one that ships."""
    ledger: str | None = None
    """Where costs are recorded: an SQLite file, or `postgresql://user@host/database` if replicas
    share it (the password in PGPASSWORD); if unset, ledger.sqlite3 in `home`."""
    caps: CapSettings = CapSettings()
    failover: FailoverSettings = FailoverSettings()

    @field_validator("ledger")
    @classmethod
    def _check_ledger(cls, ledger: str | None) -> str | None:
        if ledger is not None and "://" in ledger:
            check_database(ledger)
        return ledger

    @model_validator(mode="after")
    def _keep_presets(self) -> "RoutingSettings":
        object.__setattr__(self, "policies", _presets() | self.policies)
        return self


def check_database(url: str) -> None:
    """Raise ValueError if an address in place of a path is not that of a PostgreSQL database."""
    parts = urlsplit(url)
    if parts.scheme != "postgresql" or not parts.hostname or not parts.path.strip("/"):
        raise ValueError("give a path, or postgresql://user@host/database")
    if parts.password is not None:
        raise ValueError("leave the password out and set the variable PGPASSWORD instead")
