"""Every service in a container of its own, from the one image: `make image && make image-test`."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import ask
from tests.support.deployment import TOKEN
from tests.support.image import SERVE, Containers
from tests.support.stack import free_port, wait_until
from tiffin.config.settings import load_settings
from tiffin.deploy.render.plan import Plan

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

INNER = ("Embedding", "Reranker", "Router", "Safety", "SmallLLM")
MAX_IMAGE_BYTES = 2_500_000_000


@pytest.fixture(scope="module")
def containers() -> Containers:
    return Containers()


@pytest.fixture(scope="module")
def answering(
    containers: Containers, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str, None, None]:
    """URL of the entry service; each container has the environment that is rendered for it."""
    urls = {name: f"http://127.0.0.1:{free_port()}" for name in (*INNER, "RAG")}
    plan = Plan(load_settings(profile="laptop"), containers.image)
    folder = tmp_path_factory.mktemp("image")
    with ExitStack() as stack:
        for name, url in urls.items():
            environment = {
                **plan.environment(name, str),
                # On one network, so that each needs a port of its own.
                "BENTOML_SERVE_DEPENDS": " ".join(f"{n}={urls[n]}" for n in plan.calls(name)),
                "BENTOML_HOST": "127.0.0.1",
                "BENTOML_PORT": url.rsplit(":", 1)[1],
                "TIFFIN_INTERNAL__TOKEN": TOKEN,
                "PIP_NO_INDEX": "1",
            }
            stack.enter_context(containers.running(environment, folder / f"{name}.log"))
        wait_until(f"{urls['RAG']}/readyz")
        yield urls["RAG"]


def test_a_question_is_answered_by_five_containers(answering: str, corpus: dict[str, Any]) -> None:
    """Not as root, on a root that is read-only: the next test makes sure that it is."""
    answer = ask(answering, corpus)
    assert "1,642" in answer["answer"]
    assert answer["degraded"] == []


def test_a_question_is_answered_by_one_container(
    containers: Containers, corpus: dict[str, Any], tmp_path: Path
) -> None:
    """With the variables that docs/deploy/image.md gives to `docker run`."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = {
        "HOME": "/tmp",
        "BENTOML_HOME": "/tmp/bentoml",
        "TIFFIN_HOME": "/tmp/tiffin",
        "TIFFIN_ACCESS__WITHOUT_KEYS": "true",
        "BENTOML_HOST": "127.0.0.1",
        "BENTOML_PORT": url.rsplit(":", 1)[1],
        "PIP_NO_INDEX": "1",
    }
    with containers.running(environment, tmp_path / "serve.log", SERVE):
        wait_until(f"{url}/readyz")
        answer = ask(url, corpus)
    assert "1,642" in answer["answer"]
    assert answer["degraded"] == []


def test_nothing_but_tmp_can_be_written_and_nobody_is_root(containers: Containers) -> None:
    script = "id -u; for d in / ~ . /etc /var/tmp /tmp; do touch $d/x 2>/dev/null && echo $d; done"
    assert containers.output(script).split() == ["1034", "/tmp"]


def test_there_is_no_compiler(containers: Containers) -> None:
    assert containers.output("command -v gcc cc make git; echo none").split() == ["none"]


def test_the_image_keeps_its_size_budget(containers: Containers) -> None:
    assert containers.size_bytes() < MAX_IMAGE_BYTES
