"""A mistake in the scaling specification ends with one line that names the profile's line."""

from pathlib import Path

import pytest

from tiffin.config import settings
from tiffin.config.settings import SettingsError, load_settings

LAPTOP = (settings.PROFILES / "laptop.yaml").read_text()


def line_of(text: str, words: str) -> int:
    return text[: text.index(words)].count("\n") + 1


@pytest.mark.parametrize(
    ("before", "after", "lines_down", "says"),
    [
        ("  Router:", "  Ruoter:", 0, "no service Ruoter; there are: Embedding"),
        ("start_s: 4", "strat_s: 4", 0, "scaling.Router.strat_s"),
        ("min: 1\n    max: 8", "min: 4\n    max: 2", 1, "below min, which is 4"),
        ("{queue_depth: 4,", "{first_token_p95_ms: 4,", 0, "Reranker cannot scale on first_token"),
        ("  RAG:\n    min: 1", "  RAG:\n    min: 0", 1, "RAG cannot have 0 replicas"),
        ("{queue_depth: 32}", "{gpu_percent: 80}", -5, "gpu_percent is a guard"),
        ("{queue_depth: 32}", "{queue_depth: -1}", 0, "greater than 0"),
        ("{queue_depth: 32}", "{}", 0, "at least 1"),
        ("{request_rate_per_s: 0.2, queue_depth: 2}", "{queue_depth: 2}", -4, "nothing else wakes"),
        ("cpu: 500m", "cpu: half", 0, "match pattern"),
    ],
)
def test_a_mistake_is_refused_with_its_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
    lines_down: int,
    says: str,
) -> None:
    text = LAPTOP.replace(before, after)
    assert text != LAPTOP
    (tmp_path / "laptop.yaml").write_text(text)
    monkeypatch.setattr(settings, "PROFILES", tmp_path)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert f"line {line_of(text, after) + lines_down} of laptop.yaml" in message
    assert says in message
    assert "\n" not in message


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIFFIN_SCALING", '{"RAG": {"min": 0}}')
    with pytest.raises(SettingsError, match=r"^TIFFIN_SCALING \(scaling.RAG.min in a profile\)"):
        load_settings()
