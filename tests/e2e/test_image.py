"""Every service in a container of its own, from the one image: `make image && make image-test`."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.deployment import TOKEN
from tests.support.image import Containers, now, written_since
from tests.support.stack import free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

INNER = ("Embedding", "Reranker", "Router", "SmallLLM")
MAX_IMAGE_BYTES = 2_500_000_000


@pytest.fixture(scope="module")
def containers() -> Containers:
    return Containers()


@pytest.fixture(scope="module")
def answering(
    containers: Containers, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[str, dict[str, list[str]]], None, None]:
    """URL of the entry service, and what each container wrote outside of /tmp until then."""
    urls = {name: f"http://127.0.0.1:{free_port()}" for name in (*INNER, "RAG")}
    folder = tmp_path_factory.mktemp("image")
    began = now()
    roots: dict[str, Path] = {}
    with ExitStack() as stack:
        for name, url in urls.items():
            depends = " ".join(f"{i}={urls[i]}" for i in INNER) if name == "RAG" else ""
            environment = {
                "BENTOML_SERVE_SERVICE_NAME": name,
                "BENTOML_SERVE_DEPENDS": depends,
                "BENTOML_HOST": "127.0.0.1",
                "BENTOML_PORT": url.rsplit(":", 1)[1],
                "BENTOML_HOME": f"/tmp/bentoml-{name}",
                "TIFFIN_HOME": "/tmp/tiffin",
                "TIFFIN_INTERNAL__TOKEN": TOKEN,
                "PIP_NO_INDEX": "1",
            }
            log = folder / f"{name}.log"
            if root := stack.enter_context(containers.running(environment, log)):
                roots[name] = root
        wait_until(f"{urls['RAG']}/readyz")
        yield urls["RAG"], {name: written_since(root, began) for name, root in roots.items()}


def test_a_question_is_answered_by_five_containers(
    answering: tuple[str, dict[str, list[str]]], corpus: dict[str, Any]
) -> None:
    body = {"query": "How deep is Lake Baikal?", "documents": corpus["passages"]}
    answer = httpx.post(f"{answering[0]}/rag_query", json=body, timeout=60).json()
    assert "1,642" in answer["answer"]
    assert answer["degraded"] == []


def test_the_root_may_be_read_only(answering: tuple[str, dict[str, list[str]]]) -> None:
    """Docker runs them so; where a container's root can be seen, nothing was written to it."""
    assert not any(answering[1].values()), answering[1]


def test_the_image_keeps_its_size_budget(containers: Containers) -> None:
    assert containers.size_bytes() < MAX_IMAGE_BYTES
