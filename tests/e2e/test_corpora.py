"""A corpus in the real stack: ingested by the command line, asked, and found by OpenAI's client."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.support.stack import Stack

pytestmark = pytest.mark.e2e

TIFFIN = Path(sys.executable).with_name("tiffin")
HANDBOOK = """# Handbook

## Refunds

A ticket that was not used is refunded within 14 days of its purchase.

## Pets

Dogs may travel for half the price if they wear a muzzle.
"""
TOWER = "The tower in Paris is 324 metres tall."


def ingest(stack: Stack, *arguments: str) -> str:
    """What the command says on stderr."""
    command = [str(TIFFIN), "ingest", "--url", stack.url, "--corpus", "e2e", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "handbook.md").write_text(HANDBOOK)
    (folder / "tower.txt").write_text(TOWER)
    return folder


def test_a_folder_is_ingested_once_and_answers(stack: Stack, folder: Path) -> None:
    assert "2 files ingested, 0 unchanged, 0 failed" in ingest(stack, str(folder))
    assert "0 files ingested, 2 unchanged" in ingest(stack, str(folder))
    question = "How long do I have to return a ticket?"
    asked = {"query": question, "corpus": "e2e", "timeout_ms": 60_000}
    answer = httpx.post(f"{stack.url}/rag_query", json=asked, timeout=60).json()
    assert answer["answered"], answer
    assert "14 days" in answer["answer"]
    source = answer["sources"][answer["citations"][0]["source"] - 1]
    assert (source["title"], source["headings"]) == ("handbook.md", ["Handbook", "Refunds"])
    assert httpx.get(f"{stack.url}/readyz").json()["corpora"] == "ready"


def test_the_command_line_says_how_a_corpus_is(stack: Stack, folder: Path) -> None:
    ingest(stack, str(folder))
    (shown,) = json.loads(of_corpora(stack, "list", "--json"))
    assert (shown["name"], shown["documents"], shown["state"]) == ("e2e", 2, "ready")
    assert (shown["embedder"], shown["vectors"]) == ("all-minilm-l6-v2", "scanned")
    assert of_corpora(stack, "list").split()[:2] == ["name", "id"]
    assert "documents:          2\n" in of_corpora(stack, "show", "e2e")
    assert "are embedded by all-minilm-l6-v2" in of_corpora(stack, "reembed", "e2e")


def of_corpora(stack: Stack, *words: str) -> str:
    command = [str(TIFFIN), "corpus", "--url", stack.url, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_file_that_changed_replaces_what_it_was(stack: Stack, folder: Path) -> None:
    (folder / "tower.txt").write_text(TOWER)  # as it was, after the same test with another stack
    ingest(stack, str(folder))
    (folder / "tower.txt").write_text("The tower in Paris is 330 metres tall.")
    assert "1 files ingested, 1 unchanged" in ingest(stack, str(folder))
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client:
        store = next(one for one in client.vector_stores.list() if one.name == "e2e")
        found = client.vector_stores.search(store.id, query="How tall is the tower in Paris?")
    assert found.data[0].filename == "tower.txt"
    assert found.data[0].score > 0.5
    towers = [hit.content[0].text for hit in found.data if hit.filename == "tower.txt"]
    assert towers == ["The tower in Paris is 330 metres tall."]


@pytest.mark.slow
def test_openai_s_client_gets_an_answer_that_cites_its_files(stack: Stack, folder: Path) -> None:
    ingest(stack, str(folder))
    asked: Any = {
        "model": "auto",
        "input": "How long do I have to return a ticket?",
        "tools": [{"type": "file_search", "vector_store_ids": ["e2e"], "max_num_results": 3}],
        "include": ["file_search_call.results"],
    }
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client:
        whole = client.responses.create(**asked)
        with client.responses.stream(**asked) as events:
            kinds = [event.type for event in events]
            streamed = events.get_final_response()
    assert kinds.index("response.file_search_call.completed") < kinds.index(
        "response.output_text.delta"
    )
    assert "response.output_text.annotation.added" in kinds
    for answer in (whole, streamed):
        search: Any
        message: Any
        search, message = answer.output
        assert "14 days" in answer.output_text
        cited = message.content[0].annotations[0]
        assert (cited.type, cited.filename) == ("file_citation", "handbook.md")
        assert 1 <= len(search.results) <= 3
        assert cited.file_id in {one.file_id for one in search.results}
