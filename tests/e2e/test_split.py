"""The same services split: each alone on TCP, as in containers, and the entry service in front."""

import os
import pickle
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.stack import ROOT, free_port, stop, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

INNER = ("Embedding", "Reranker", "Router", "SmallLLM")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, str], None, None]:
    """URL of every service by name."""
    urls = {name: f"http://127.0.0.1:{free_port()}" for name in (*INNER, "RAG")}
    with ExitStack() as stack:
        for name, url in urls.items():
            home = tmp_path_factory.mktemp(name)
            depends = [f"{inner}={urls[inner]}" for inner in INNER] if name == "RAG" else []
            process = _start(name, url, depends, home)
            stack.callback(stop, process)
        wait_until(f"{urls['RAG']}/readyz", process)
        yield urls


def _start(name: str, url: str, depends: list[str], home: Path) -> "subprocess.Popen[bytes]":
    arguments = [f"--depends={dependency}" for dependency in depends]
    with (home / "serve.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                *("-m", "bentoml_cli._internal.start", "start-http-server"),
                "service:RAG",
                f"--service-name={name}",
                "--host=127.0.0.1",
                f"--port={url.rsplit(':', 1)[1]}",
                *arguments,
            ],
            cwd=ROOT,
            env={**os.environ, "BENTOML_HOME": str(home / "bentoml")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def test_a_question_is_answered_as_by_the_composed_stack(
    split: dict[str, str], corpus: dict[str, Any]
) -> None:
    body = {"query": "How deep is Lake Baikal?", "documents": corpus["passages"]}
    answer = httpx.post(f"{split['RAG']}/rag_query", json=body, timeout=60).json()
    assert "1,642" in answer["answer"]
    assert answer["degraded"] == []


@pytest.mark.parametrize("service", [*INNER, "RAG"])
@pytest.mark.parametrize("path", ["/rag_query", "/internal/v1/embed", "/anything"])
def test_pickle_is_refused_by_every_service(split: dict[str, str], service: str, path: str) -> None:
    response = httpx.post(
        split[service] + path,
        content=pickle.dumps({"query": "x"}),
        headers={"content-type": "application/vnd.bentoml+pickle"},
    )
    assert response.status_code == 415
