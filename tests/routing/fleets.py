"""A fleet for the tests of this folder: free at home, and two that cost."""

from typing import Any

from tiffin.config.settings import Settings, load_settings

CHEAP = {"input_usd_per_mtok": 1.0, "cached_input_usd_per_mtok": 0.1, "output_usd_per_mtok": 4.0}
DEAR = {"input_usd_per_mtok": 10.0, "output_usd_per_mtok": 30.0}


def provider(price: dict[str, float], **more: Any) -> dict[str, Any]:
    """A provider that needs no key."""
    return {
        "provider": "openai-compatible",
        "model": "m",
        "base_url": "http://127.0.0.1:9",
        "price": price,
        **more,
    }


def settings_with(**fields: Any) -> Settings:
    """The laptop profile with `mid` and `big` beside its own small tier."""
    providers = {"mid": provider(CHEAP), "big": provider(DEAR)}
    return load_settings(**{"profile": "laptop", "providers": providers, **fields})
