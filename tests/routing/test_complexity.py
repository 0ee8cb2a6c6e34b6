"""The complexity model: what ships, how it judges, and which files it refuses."""

import time
from dataclasses import replace
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


KNOWN = "Which of the following is NOT a prime?\n(A) 2\n(B) 3\n(C) 9\n(D) 11\nAnswer:"


def known(model: ComplexityModel) -> np.ndarray:
    """An embedding like those that the model learned from."""
    vector: np.ndarray = model.centres[0]
    return vector


def test_a_judgement_is_calibrated_falling_and_named() -> None:
    model = ComplexityModel.load(SHIPPED)
    judged = model.judge(text_features(KNOWN), known(model))
    assert 0 < judged.p_cheap < 1
    assert judged.by == "model: embedding and text"
    for curve in (model.head.curve, model.length):
        assert (np.diff(curve[1]) <= 0).all(), "what is harder never suffices more often"


def test_where_the_model_is_out_of_its_depth_the_length_judges_and_says_so() -> None:
    model = ComplexityModel.load(SHIPPED)
    stranger = np.random.default_rng(0).normal(size=384).astype(np.float32)
    stranger /= np.linalg.norm(stranger)
    for vector, why in (
        (stranger, "unlike what the model learned from"),
        (None, "there is no embedding"),
        (np.ones(8, np.float32), "there is no embedding"),
    ):
        short, long = (model.judge(text_features(QUERY[:n]), vector) for n in (30, 280))
        assert short.by == long.by == f"length: {why}"
        assert short.p_cheap > long.p_cheap


def test_a_decision_takes_less_than_two_milliseconds() -> None:
    decider = decider_of(settings_with())
    vector = Array.of(known(ComplexityModel.load(SHIPPED)))
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
    old = replace(model, metadata={**model.metadata, "features": '["old"]'})
    save(old, tmp_path / "old.safetensors")
    with pytest.raises(ComplexityModelError, match="tiffin router train"):
        ComplexityModel.load(tmp_path / "old.safetensors")
    save_file({"centre": model.head.centre}, tmp_path / "trees.safetensors")
    with pytest.raises(ComplexityModelError, match="no tensor 'axes'; train it again"):
        ComplexityModel.load(tmp_path / "trees.safetensors")
