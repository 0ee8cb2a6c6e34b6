"""An empty store, an empty package registry, and a model in two wheels."""

from pathlib import Path

import pytest

from models.catalog import Model
from models.store import Store
from tests.support.weights import WHOLE, Registry, in_parts, model


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return Registry(tmp_path / "registry", monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def toy(wheels: Registry) -> Model:
    """A model in two wheels."""
    return model(WHOLE, in_parts(wheels))
