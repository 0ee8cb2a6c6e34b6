"""The settings: what beats what, and that a mistake is one line that names field and values."""

from pathlib import Path

import pytest
import yaml

from models.catalog import load_catalog
from tiffin.config import settings as module
from tiffin.config.settings import SettingsError, check_models, load_settings


def test_flags_beat_the_environment_which_beats_the_profile_which_beats_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().rag.top_k == 10, "the default"
    assert load_settings().rag.top_n == 2, "the laptop profile's"
    monkeypatch.setenv("TIFFIN_RAG__TOP_N", "5")
    assert load_settings().rag.top_n == 5, "the environment's"
    assert load_settings(rag={"top_n": 7}).rag.top_n == 7, "the flag's"


def test_one_level_changed_keeps_the_rest_of_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIFFIN_TIERS__SMALL__PARALLEL", "3")
    small = load_settings().tiers["small"]
    assert (small.parallel, small.model) == (3, "qwen2.5-coder-0.5b-instruct")


def test_settings_cannot_be_changed_after_the_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().home = Path("/elsewhere")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TIFFIN_PROFILE", "lap", "'lap' is not a profile; use one of: .*laptop"),
        ("TIFFIN_RAG__TOP_K", "0", r"\(rag.top_k in a profile\): .*equal to 1, not '0'"),
        ("TIFFIN_EMBEDDING__DEVICE", "tpu", "'auto', 'cpu' or 'cuda', not 'tpu'"),
        ("TIFFIN_LIMITS__BODY_BYTES", "16MB", "valid integer.*, not '16MB'"),
        ("TIFFIN_EMBEDING__MODEL", "x", "did you mean TIFFIN_EMBEDDING__MODEL"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable_and_what_it_allows(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=says) as error:
        load_settings()
    assert str(error.value).startswith(variable)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ("reranker: {model: x}", "TIFFIN_EMBEDDING .* is needed and not set"),
        ("embedding: {model: x, colour: red}", r"\(embedding.colour, line 1 of odd.yaml\)"),
        ("- a list", "odd.yaml: not a mapping in YAML"),
        ("{", "odd.yaml: not a mapping in YAML"),
    ],
)
def test_a_mistake_in_a_profile_names_the_file_or_the_field(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str, says: str
) -> None:
    (tmp_path / "odd.yaml").write_text(profile)
    monkeypatch.setattr(module, "PROFILES", tmp_path)
    with pytest.raises(SettingsError, match=says):
        load_settings(profile="odd")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TIFFIN_UPSTREAMS", "TIFFIN_PROVIDERS"),
        ("TIFFIN_ROUTING__WAY_OUT__RETRY_SHARE", "TIFFIN_ROUTING__FAILOVER__RETRY_SHARE"),
        ("TIFFIN_TIERS__LARGE__ABILITIES", "TIFFIN_TIERS__LARGE__CAPABILITIES"),
        ("TIFFIN_TIERS__SMALL__STRENGTH", "TIFFIN_TIERS__SMALL__QUALITY"),
    ],
)
def test_a_renamed_variable_is_refused_with_its_new_name(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    monkeypatch.setenv(old, "1")
    with pytest.raises(SettingsError, match=f"^{old} was renamed to {new}$"):
        load_settings()


@pytest.mark.parametrize(
    ("changed", "new"),
    [
        ("upstreams: {}", "providers"),
        ("routing: {way_out: {retry_share: 0}}", "routing.failover"),
        ("tiers: {small: {model: x, abilities: [tools]}}", "tiers.small.capabilities"),
        ("tiers: {small: {model: x, strength: 1}}", "tiers.small.quality"),
        (
            "providers: {a: {provider: openai, model: x, price: {}, strength: 1}}",
            "providers.a.quality",
        ),
    ],
)
def test_a_renamed_key_of_a_profile_is_refused_with_its_new_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str, new: str
) -> None:
    whole = {"embedding": {"model": "x"}, "reranker": {"model": "x"}}
    whole |= {"tiers": {"small": {"model": "x"}}} | yaml.safe_load(changed)
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(whole))
    monkeypatch.setattr(module, "PROFILES", tmp_path)
    with pytest.raises(
        SettingsError, match=rf", line \d+ of old.yaml\) was renamed to .*\({new}\)"
    ):
        load_settings(profile="old")


def test_a_model_made_for_another_task_is_refused_with_those_that_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIFFIN_RERANKER__MODEL", "all-minilm-l6-v2")
    with pytest.raises(SettingsError, match=r"TIFFIN_RERANKER__MODEL.*ms-marco-minilm-l-12-v2"):
        check_models(load_settings(), load_catalog())


@pytest.mark.parametrize("profile", module.profiles())
def test_every_profile_that_ships_is_complete(profile: str) -> None:
    check_models(load_settings(profile=profile), load_catalog())
