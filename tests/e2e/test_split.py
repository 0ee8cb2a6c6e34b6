"""The same services split: each alone on TCP, as in containers, and the entry service in front."""

import os
import pickle
import re
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.asking import PATIENT_MS, ask
from tests.support.deployment import TIFFIN, TOKEN
from tests.support.stack import WRITING, free_port, stop, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

INNER = ("Embedding", "Reranker", "Router", "Safety", "SmallLLM")


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


def _start(
    name: str, url: str, depends: list[str], home: Path, **variables: str
) -> "subprocess.Popen[bytes]":
    """By the environment of BentoML's image, as in a container."""
    with (home / "serve.log").open("wb") as log:
        return subprocess.Popen(
            [TIFFIN, "deploy", "start"],
            env={
                **os.environ,
                "BENTOML_HOME": str(home / "bentoml"),
                "BENTOML_SERVE_SERVICE_NAME": name,
                "BENTOML_SERVE_DEPENDS": " ".join(depends),
                "BENTOML_HOST": "127.0.0.1",
                "BENTOML_PORT": url.rsplit(":", 1)[1],
                "TIFFIN_INTERNAL__TOKEN": TOKEN,
                **variables,
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def test_a_question_is_answered_as_by_the_composed_stack(
    split: dict[str, str], corpus: dict[str, Any]
) -> None:
    answer = ask(split["RAG"], corpus)
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


def test_a_wrong_address_ends_the_start_with_one_line(split: dict[str, str]) -> None:
    depends = {f"{name}={split[name]}" for name in INNER}
    swapped = (depends - {f"Router={split['Router']}"}) | {f"Router={split['Reranker']}"}
    done = subprocess.run(
        [TIFFIN, "deploy", "start", "RAG", *(f"--depends={word}" for word in swapped)],
        env={**os.environ, "TIFFIN_INTERNAL__TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"Error: {split['Reranker']} is given as Router and is Reranker\n"


def test_a_tier_that_sleeps_is_missed_by_nobody_and_woken_by_the_first_call(
    split: dict[str, str], corpus: dict[str, Any], tmp_path: Path
) -> None:
    """The entry service starts without LargeLLM, and counts the calls of it, which KEDA watches."""
    large = f"http://127.0.0.1:{free_port()}"
    url = f"http://127.0.0.1:{free_port()}"
    depends = [*(f"{name}={split[name]}" for name in INNER), f"LargeLLM={large}"]
    homes = [tmp_path / "rag", tmp_path / "large"]
    model = {"TIFFIN_TIERS__LARGE__MODEL": "qwen2.5-coder-1.5b-instruct", **WRITING}

    def ask(**fields: Any) -> httpx.Response:
        body = {"query": "How deep is Lake Baikal?", "documents": corpus["passages"]}
        body["timeout_ms"] = PATIENT_MS
        return httpx.post(f"{url}/rag_query", json=body | fields, timeout=120)

    with ExitStack() as stack:
        for home in homes:
            home.mkdir()
        entry = _start("RAG", url, depends, homes[0], **model)
        stack.callback(stop, entry)
        wait_until(f"{url}/readyz", entry)
        answer = ask().json()
        assert (answer["route"]["tier"], answer["degraded"]) == ("small", [])
        asleep = ask(model="large")
        assert asleep.status_code == httpx.codes.SERVICE_UNAVAILABLE
        wanted = re.search(
            r'^tiffin_calls_total\{.*"LargeLLM".*\} (\S+)$',
            httpx.get(f"{url}/metrics").text,
            re.MULTILINE,
        )
        assert wanted
        assert float(wanted[1]) >= 1
        woken = _start("LargeLLM", large, [], homes[1], **model)
        stack.callback(stop, woken)
        wait_until(f"{large}/readyz", woken)
        deadline = time.monotonic() + 30
        while (woke := ask(model="large", max_tokens=60)).status_code != httpx.codes.OK:
            assert time.monotonic() < deadline, woke.text
        assert woke.json()["route"]["tier"] == "large"
        assert "1,642" in woke.json()["answer"]
