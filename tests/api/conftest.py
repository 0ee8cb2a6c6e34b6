"""The entry service in front of weightless services."""

import pytest

from tests.support.services import Services
from tiffin.config.settings import Settings, load_settings


@pytest.fixture
def settings() -> Settings:
    rag = {"top_k": 3, "top_n": 2, "deadline_ms": 2000, "prefer": "write", "grounding": "off"}
    return load_settings(profile="laptop", rag=rag, safety={"enabled": False})


@pytest.fixture
def services() -> Services:
    return Services()
