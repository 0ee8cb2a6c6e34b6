"""Tiers and policies that cannot work end the start with one line."""

from typing import Any

import pytest

from tests.routing.fleets import CHEAP, DEAR, provider, settings_with
from tiffin.config.routing import check_keys
from tiffin.config.settings import SettingsError, load_settings
from tiffin.providers.connect import connect_providers
from tiffin.routing import assembly
from tiffin.routing.assembly import decider_of, fleet_of


def test_tiers_stand_cheapest_first_and_fall_back_to_the_nearest() -> None:
    fleet = fleet_of(settings_with())
    assert [(tier.name, tier.quality) for tier in fleet] == [
        ("small", 0.0),
        ("mid", 0.5),
        ("big", 1.0),
    ]
    assert [tier.fallbacks for tier in fleet] == [
        ("mid", "big"),
        ("big", "small"),
        ("mid", "small"),
    ]
    assert fleet.strongest.name == "big"


def test_the_only_tier_is_taken_for_no_better_than_the_cheapest_of_several() -> None:
    (only,) = fleet_of(settings_with(providers={}))
    assert only.quality == 0.0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"providers": {"x": {**provider(CHEAP), "provider": "acme"}}}, "'openai', 'anthropic'"),
        ({"providers": {"x": {**provider(CHEAP), "price": 3}}}, "a price needs its unit"),
        ({"providers": {"x": provider({"input": 3})}}, "input_usd_per_mtok"),
        ({"providers": {"x": provider({"input_usd_per_mtok": 3})}}, "output_usd_per_mtok"),
        ({"providers": {"x": {**provider(CHEAP), "base_url": None}}}, "base_url is needed"),
        ({"providers": {"small": provider(CHEAP)}}, "providers.small: the name is taken"),
        ({"providers": {"auto": provider(CHEAP)}}, "providers.auto: the name is taken"),
        (
            {"providers": {"a": provider(CHEAP, fallbacks=["nobody"])}},
            "fallback 'nobody' is not a tier",
        ),
        (
            {
                "providers": {
                    "a": provider(CHEAP, fallbacks=["b"]),
                    "b": provider(DEAR, fallbacks=["a"]),
                }
            },
            "lead back to it",
        ),
        ({"routing": {"policies": {"p": {"pin": "huge"}}}}, "pin 'huge' is not a tier"),
        (
            {"routing": {"policies": {"p": {"pin": "big", "max_request_usd": 1e-9}}}},
            "nothing satisfies it",
        ),
        ({"routing": {"policies": {"p": {"target_quality": 2}}}}, "less than or equal to 1"),
    ],
)
def test_a_contradiction_is_refused_by_name(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        fleet_of(settings_with(**fields))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_key_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    claude = {"provider": "anthropic", "model": "m", "price": CHEAP}
    settings = settings_with(providers={"claude": claude})
    with pytest.raises(SettingsError, match="set ANTHROPIC_API_KEY"):
        check_keys(settings.providers)
    with pytest.raises(SettingsError, match="set ANTHROPIC_API_KEY"):
        connect_providers(settings.providers)


def test_the_laptop_needs_no_key() -> None:
    settings = settings_with(providers={})
    assert [tier.name for tier in fleet_of(settings)] == ["small"]
    assert connect_providers(settings.providers) == {}


def test_the_hybrid_profile_asks_for_one_key_and_works_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings(profile="hybrid")
    assert [tier.name for tier in fleet_of(settings)] == ["small", "large"]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        check_keys(settings.providers)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert set(connect_providers(settings.providers)) == {"large"}


def test_a_start_says_whose_quality_nobody_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(assembly.logger, "warning", lambda text, *names: said.append(text % names))
    decider_of(settings_with())
    assert "`quality` is not set for mid, big" in said.pop()
    measured = {"mid": provider(CHEAP, quality=0.4), "big": provider(DEAR, quality=0.9)}
    decider_of(settings_with(providers=measured))
    assert not said
