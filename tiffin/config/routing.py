"""Settings of the routing: what tiers cost and can do, who serves them, and the policies.

Tiers that Tiffin serves itself stand under `tiers`; those that somebody else serves stand under
`providers`. To a policy both are tiers. `tiffin.routing.fleet` checks them together.
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
"""It may be sent images."""

ProviderKind = Literal["openai", "anthropic", "google", "openai-compatible"]

KEY_VARIABLES: dict[str, str] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GEMINI_API_KEY",
}
"""Where a provider's key is read from unless the tier names another variable."""

Usd = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

UNITS = (
    "a price needs its unit: give input_usd_per_mtok and output_usd_per_mtok (and, where they"
    " differ, cached_input_usd_per_mtok and cache_write_usd_per_mtok), or gpu_usd_per_hour"
)


class PriceSettings(Section):
    """What a tier costs: US dollars per million tokens, or per hour of the GPUs it keeps busy."""

    input_usd_per_mtok: Usd = 0.0
    cached_input_usd_per_mtok: Annotated[
        float | None, Field(ge=0, description="Prompt tokens read from a cache; none: as input.")
    ] = None
    cache_write_usd_per_mtok: Annotated[
        float | None, Field(ge=0, description="Prompt tokens written to a cache; none: as input.")
    ] = None
    output_usd_per_mtok: Usd = 0.0
    gpu_usd_per_hour: Annotated[
        float, Field(ge=0, description="Charged for the time of each answer, shared by load.")
    ] = 0.0

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
    """What a policy knows of a tier, whoever serves it."""

    price: PriceSettings = PriceSettings()
    capabilities: Annotated[
        tuple[Capability, ...], Field(description="Requests that need another do not come here.")
    ] = ("tools", "json_schema", "logprobs", "completion")
    quality: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Of what the weakest tier fails at, the share that this one masters;"
            " none: evenly spaced by price, 0 for the cheapest and 1 for the dearest.",
        ),
    ] = None
    fallbacks: Annotated[
        tuple[str, ...] | None,
        Field(description="Tiers to ask when this one cannot; none: all others, nearest first."),
    ] = None


class ProviderSettings(TierCard):
    """A tier that somebody else serves. Its key is read from the environment, never from here."""

    provider: Annotated[ProviderKind, Field(description="Whose protocol it speaks.")]
    model: Annotated[str, Field(min_length=1, description="The provider's name of the model.")]
    base_url: Annotated[
        str | None,
        Field(pattern="^https?://", description="Needed for openai-compatible; else the official."),
    ] = None
    key_env: Annotated[
        str | None, Field(description="Environment variable with the key; none: the usual one.")
    ] = None
    price: PriceSettings
    capabilities: tuple[Capability, ...] = ("tools", "json_schema")
    context_tokens: Annotated[int, Field(ge=256)] = 128_000
    max_output_tokens: Count = 4096
    max_in_flight: Annotated[
        int, Field(ge=1, description="Requests at once; the next goes to another tier.")
    ] = 64

    @model_validator(mode="after")
    def _needs_url(self) -> "ProviderSettings":
        if self.provider == "openai-compatible" and self.base_url is None:
            message = "base_url is needed for provider openai-compatible"
            raise ValueError(message)
        return self


def check_keys(providers: Mapping[str, ProviderSettings]) -> None:
    """Raise SettingsError when an provider's key is missing. For the process that calls it."""
    for name, provider in providers.items():
        variable = key_variable(provider)
        if variable is not None and not os.environ.get(variable):
            message = f"providers.{name}: no key: set {variable}, or name another in key_env"
            raise SettingsError(message)


def key_variable(provider: ProviderSettings) -> str | None:
    """The environment variable with the key; None where no key is needed."""
    return provider.key_env or KEY_VARIABLES.get(provider.provider)


class PolicySettings(Section):
    """How a tier is chosen. All limits hold together; `prefer` decides between what is left."""

    prefer: Annotated[
        Literal["cheapest", "fastest", "best"],
        Field(description="Among the tiers that reach the target quality."),
    ] = "cheapest"
    target_quality: Annotated[
        float, Field(ge=0, le=1, description="Least probability that the answer suffices.")
    ] = 0.7
    pin: Annotated[str | None, Field(description="Always this tier.")] = None
    max_request_usd: Annotated[float | None, Field(gt=0)] = None
    max_ttft_ms: Annotated[
        float | None, Field(gt=0, description="Against what was measured of late.")
    ] = None
    max_strong_share: Annotated[
        float | None, Field(ge=0, le=1, description="Of recent requests, to the strongest tier.")
    ] = None
    escalate_below: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="Cascade, for answers that are not streamed: ask the next stronger tier"
            " when the mean probability of the answer's tokens is below this.",
        ),
    ] = None


def _presets() -> dict[str, PolicySettings]:
    return {
        AUTO: PolicySettings(),
        AUTO_FAST: PolicySettings(prefer="fastest", target_quality=0.6),
        AUTO_QUALITY: PolicySettings(target_quality=0.95),
    }


class CapSettings(Section):
    """What may be spent, in US dollars; a day is a UTC day. None: no limit."""

    request_usd: Annotated[float | None, Field(gt=0)] = None
    key_day_usd: Annotated[float | None, Field(gt=0)] = None
    day_usd: Annotated[float | None, Field(gt=0)] = None


class FailoverSettings(Section):
    """What happens when a tier does not answer."""

    retry_share: Annotated[
        Share, Field(description="Retries of the same tier, as a share of its requests.")
    ] = 0.1
    breaker_failures: Annotated[
        int, Field(ge=1, description="Failures in a row after which a tier is left alone.")
    ] = 5
    breaker_open_ms: Annotated[
        int, Field(ge=1, description="For how long; then one request tries it.")
    ] = 5000
    first_token_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="Of the time left, what a tier may take to begin while another could"
            " still be asked.",
        ),
    ] = 0.6


class RoutingSettings(Section):
    """Who answers, and what it may cost."""

    policies: Annotated[
        dict[str, PolicySettings],
        Field(description="By the model name that asks for it; presets are kept."),
    ] = Field(default_factory=_presets)
    complexity_model: Annotated[
        Path | None, Field(description="Made by `tiffin router train`; none: the one shipped.")
    ] = None
    ledger: Annotated[
        str | None,
        Field(
            description="Costs: an SQLite file, or `postgresql://user@host/database` where"
            " replicas share it (the password in PGPASSWORD); none: ledger.sqlite3 in `home`."
        ),
    ] = None
    caps: CapSettings = CapSettings()
    failover: FailoverSettings = FailoverSettings()

    @field_validator("ledger")
    @classmethod
    def _check_ledger(cls, ledger: str | None) -> str | None:
        if ledger is not None and "://" in ledger:
            parts = urlsplit(ledger)
            if parts.scheme != "postgresql" or not parts.hostname or not parts.path.strip("/"):
                message = "give a path, or postgresql://user@host/database"
                raise ValueError(message)
            if parts.password is not None:
                message = "keep the password out of it, in the variable PGPASSWORD"
                raise ValueError(message)
        return ledger

    @model_validator(mode="after")
    def _keep_presets(self) -> "RoutingSettings":
        object.__setattr__(self, "policies", _presets() | self.policies)
        return self
