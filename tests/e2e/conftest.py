"""One real stack for all end-to-end tests: what `make serve` starts, with real models.

The slow tests run them all again on the Bento of this tree after it was exported, and imported
where nothing else is; the nightly ones on the Bento where it was built.
"""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.bento import OFFLINE, Bento, build, clone, moved
from tests.support.stack import Stack, running_stack


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Bento:
    """The Bento of this tree, in a store of its own."""
    folder = tmp_path_factory.mktemp("built")
    return build(clone(folder / "clone"), folder / "bentoml")


@pytest.fixture(
    scope="session",
    params=[
        "source",
        pytest.param("bento", marks=[pytest.mark.slow, pytest.mark.nightly]),
        pytest.param("archive", marks=pytest.mark.slow),
    ],
)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Stack, None, None]:
    folder = tmp_path_factory.mktemp("stack")
    if request.param == "source":
        with running_stack(folder, TIFFIN_CACHE__RETRIEVAL="true") as running:
            yield running
        return
    bento: Bento = request.getfixturevalue("built")
    if request.param == "archive":
        bento = moved(bento, folder)
    # Neither weights at home nor a way to fetch them: all must come out of the Bento.
    environment = {**OFFLINE, "BENTOML_HOME": str(bento.store), "TIFFIN_HOME": str(folder / "home")}
    with running_stack(folder, bento.tag, **environment) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Generator[httpx.Client, None, None]:
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def corpus() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(
        (Path(__file__).parents[1] / "data/passages.json").read_text()
    )
    return data
