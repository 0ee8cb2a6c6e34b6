"""Makes the clients of the providers that a profile names. Called when the entry service starts."""

import importlib
import os
from collections.abc import Mapping

from tiffin.config.routing import ProviderSettings, check_keys, key_variable
from tiffin.config.section import SettingsError
from tiffin.providers.base import Provider

_KINDS = {
    "openai": ("openai", "OpenAIProvider"),
    "openai-compatible": ("openai", "OpenAIProvider"),
    "anthropic": ("anthropic", "AnthropicProvider"),
    "google": ("google", "GoogleProvider"),
}


def connect_providers(providers: Mapping[str, ProviderSettings]) -> dict[str, Provider]:
    """One client for each tier; none connects yet. Raises SettingsError without its key or SDK."""
    check_keys(providers)
    return {name: _connect(name, provider) for name, provider in providers.items()}


def _connect(name: str, provider: ProviderSettings) -> Provider:
    module, kind = _KINDS[provider.provider]
    try:
        make = getattr(importlib.import_module(f"tiffin.providers.{module}"), kind)
    except ModuleNotFoundError as error:
        message = f"providers.{name}: {error.name} is not installed; install tiffin[providers]"
        raise SettingsError(message) from None
    variable = key_variable(provider)
    key = os.environ[variable] if variable is not None else None
    made: Provider = make(name, provider, key)
    return made
