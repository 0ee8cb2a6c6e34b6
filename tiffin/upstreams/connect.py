"""Makes the upstreams that a profile names. Called by `services/rag.py` when it starts."""

import importlib
import os
from collections.abc import Mapping

from tiffin.ops.routing import UpstreamSettings
from tiffin.ops.section import SettingsError
from tiffin.routing.fleet import check_keys, key_variable
from tiffin.upstreams.base import Upstream

_KINDS = {
    "openai": ("openai", "OpenAIUpstream"),
    "openai-compatible": ("openai", "OpenAIUpstream"),
    "anthropic": ("anthropic", "AnthropicUpstream"),
    "google": ("google", "GoogleUpstream"),
}


def connect_upstreams(upstreams: Mapping[str, UpstreamSettings]) -> dict[str, Upstream]:
    """One client a tier. Raises SettingsError without its key or its SDK; opens no connection."""
    check_keys(upstreams)
    return {name: _connect(name, upstream) for name, upstream in upstreams.items()}


def _connect(name: str, upstream: UpstreamSettings) -> Upstream:
    module, kind = _KINDS[upstream.provider]
    try:
        make = getattr(importlib.import_module(f"tiffin.upstreams.{module}"), kind)
    except ModuleNotFoundError as error:
        message = f"upstreams.{name}: {error.name} is not installed; install tiffin[upstreams]"
        raise SettingsError(message) from None
    variable = key_variable(upstream)
    key = os.environ[variable] if variable is not None else None
    made: Upstream = make(name, upstream, key)
    return made
