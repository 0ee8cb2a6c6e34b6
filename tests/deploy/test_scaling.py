"""A mistake in the scaling specification ends with one line that names the profile's line."""

from pathlib import Path

import pytest

from tiffin.ops import settings
from tiffin.ops.settings import SettingsError, load_settings

LAPTOP = (settings.PROFILES / "laptop.yaml").read_text()


def line_of(text: str, words: str) -> int:
    return text[: text.index(words)].count("\n") + 1


@pytest.mark.parametrize(
    ("before", "after", "wrong", "says"),
    [
        ("  Router:", "  Ruoter:", "  Ruoter:", "input should be 'RAG', 'Embedding'"),
        ("start_s: 5", "strat_s: 5", "strat_s: 5", "scaling.Router.strat_s"),
        ("min: 1\n    max: 8", "min: 4\n    max: 2", 'max: 2\n    cpu: "2"\n    memory: 1Gi\n    signals: {queue_depth: 2,', "below min, which is 4"),
        ("{queue_depth: 4,", "{first_token_p95_ms: 4,", "signals: {first_token_p95_ms: 4", "Reranker cannot scale on first_token_p95_ms; it can on:"),
        ("  RAG:\n    min: 1", "  RAG:\n    min: 0", '    min: 0\n    max: 4\n    cpu: "1"', "RAG cannot have 0 replicas"),
        ("{queue_depth: 32}", "{gpu_percent: 80}", "  RAG:", "gpu_percent is a guard"),
        ("{queue_depth: 32}", "{queue_depth: -1}", "signals: {queue_depth: -1}", "greater than 0"),
        ("{queue_depth: 32}", "{}", "signals: {}", "at least 1"),
        ("cpu: 500m", "cpu: half", "cpu: half", "match pattern"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
    wrong: str,
    says: str,
) -> None:
    text = LAPTOP.replace(before, after)
    assert text != LAPTOP
    (tmp_path / "laptop.yaml").write_text(text)
    monkeypatch.setattr(settings, "PROFILES", tmp_path)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert f"line {line_of(text, wrong)} of laptop.yaml" in message
    assert says in message
    assert "\n" not in message


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIFFIN_SCALING", '{"RAG": {"min": 0}}')
    with pytest.raises(SettingsError, match=r"^TIFFIN_SCALING \(scaling.RAG.min in a profile\)"):
        load_settings()
