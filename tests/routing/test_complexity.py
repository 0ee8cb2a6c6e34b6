"""The complexity model: what ships, how it judges, and which files it refuses."""

import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from safetensors.numpy import save_file

from lab.router.training import save
from tests.routing.fleets import settings_with
from tiffin.core.messages import Array, RouteRequest
from tiffin.routing.assembly import decider_of
from tiffin.routing.complexity import SHIPPED, ComplexityModel, ComplexityModelError
from tiffin.routing.features import text_features

QUERY = "Suppose that demand is P = 10 - Q. What is its elasticity at P = 4?" * 4


def test_the_shipped_model_says_from_what_it_was_made() -> None:
    model = ComplexityModel.load(SHIPPED)
    assert len(model.metadata["data_sha256"]) == 64
    assert model.metadata["seed"] == "0"
    assert SHIPPED.stat().st_size < 300_000


@pytest.mark.parametrize(
    ("query", "with_embedding", "without"),
    [
        ("What is the capital of France?", (0.4140, 0.8679), (0.4309, 0.8659)),
        (QUERY, (0.4105, 0.8694), (0.4758, 0.8443)),
        (
            "Which of the following is NOT a prime?\n(A) 2\n(B) 3\n(C) 9\n(D) 11\nAnswer:",
            (0.4708, 0.8313),
            (0.6516, 0.7341),
        ),
    ],
)
def test_the_shipped_model_judges_as_it_always_did(
    query: str, with_embedding: tuple[float, float], without: tuple[float, float]
) -> None:
    """Recorded while training was still part of the product; only another file may change them."""
    model = ComplexityModel.load(SHIPPED)
    vector = np.random.default_rng(len(query)).normal(size=384).astype(np.float32)
    vector /= np.linalg.norm(vector)
    for given, figures in ((vector, with_embedding), (None, without)):
        judged = model.judge(text_features(query), given)
        assert (judged.score, judged.p_cheap) == pytest.approx(figures, abs=1e-4)


def test_a_judgement_is_calibrated_falling_and_named() -> None:
    model = ComplexityModel.load(SHIPPED)
    vector = np.zeros(384, np.float32)
    judged = model.judge(text_features(QUERY), vector)
    assert 0 < judged.p_cheap < 1
    assert judged.by == "model: embedding and text"
    assert model.judge(text_features(QUERY), None).by == "model: text"
    for head in (model.full, model.text):
        assert (np.diff(head.curve[1]) <= 0).all(), "what is harder never suffices more often"


def test_a_decision_takes_less_than_two_milliseconds() -> None:
    decider = decider_of(settings_with())
    vector = Array.of(np.full(384, 0.05, np.float32))
    request = RouteRequest(QUERY, "auto", vector=vector, prompt_tokens=500)
    took = []
    for _ in range(200):
        began = time.process_time()
        decider.decide(request)
        took.append(time.process_time() - began)
    assert median(took) < 0.002


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_text("hello")
    with pytest.raises(ComplexityModelError, match="not a complexity model"):
        ComplexityModel.load(tmp_path / "m.safetensors")
    model = ComplexityModel.load(SHIPPED)
    old = ComplexityModel(model.full, model.text, {**model.metadata, "features": '["old"]'})
    save(old, tmp_path / "old.safetensors")
    with pytest.raises(ComplexityModelError, match="tiffin router train"):
        ComplexityModel.load(tmp_path / "old.safetensors")
    save_file({"full.centre": model.full.centre}, tmp_path / "trees.safetensors")
    with pytest.raises(ComplexityModelError, match=r"no tensor 'full\.axes'; train it again"):
        ComplexityModel.load(tmp_path / "trees.safetensors")
