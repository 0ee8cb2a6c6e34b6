"""Each profile fits the hardware that it is for, and is chosen on it."""

import pytest

from models.catalog import load_catalog
from models.errors import PlacementError
from models.placement.hardware import parse_gpus
from models.placement.planner import make_plan
from tiffin.config import settings as settings_module
from tiffin.config.placement import workloads
from tiffin.config.settings import SettingsError, check_models, load_settings


@pytest.fixture(autouse=True)
def _no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIFFIN_PROFILE", raising=False)


@pytest.mark.parametrize(("profile", "gpus"), [("gpu", "1x16"), ("multi-gpu", "2x24")])
def test_a_profile_fits_the_gpus_it_is_for(profile: str, gpus: str) -> None:
    settings, catalog = load_settings(profile=profile), load_catalog()
    check_models(settings, catalog)
    made = make_plan(workloads(settings, catalog), parse_gpus(gpus))
    services = {placed.work.service for placed in made.placements}
    assert services == {"Embedding", "Reranker", "SmallLLM", "LargeLLM"}
    large = made.of("LargeLLM")
    assert large is not None
    assert large.degree == len(made.gpus)


@pytest.mark.parametrize(
    ("gpus", "vllm", "profile"),
    [
        ("", True, "laptop"),
        ("1x24", True, "gpu"),
        ("2x24", True, "multi-gpu"),
        ("1x24", False, "laptop"),
    ],
)
def test_the_profile_follows_the_gpus(
    monkeypatch: pytest.MonkeyPatch, gpus: str, vllm: bool, profile: str
) -> None:
    monkeypatch.setattr(settings_module, "detect_gpus", lambda: parse_gpus(gpus) if gpus else [])
    monkeypatch.setattr(settings_module, "find_spec", lambda _: object() if vllm else None)
    assert load_settings().profile == profile
    assert load_settings(profile="laptop").profile == "laptop"
    monkeypatch.setenv("TIFFIN_PROFILE", "laptop")
    assert load_settings().profile == "laptop"


def test_gpus_that_are_not_there_end_a_start_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        message = "CUDA_VISIBLE_DEVICES names GPU 5, which does not exist; there are: 0"
        raise PlacementError(message)

    monkeypatch.setattr(settings_module, "detect_gpus", broken)
    with pytest.raises(SettingsError, match="names GPU 5"):
        load_settings()
