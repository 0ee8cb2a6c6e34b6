"""With the multilingual embedder, questions and documents may be in different languages."""

import json
from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.nightly, pytest.mark.slow]

QUESTIONS = [
    json.loads(line)
    for line in Path("lab/answers/languages.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack, None, None]:
    with running_stack(
        tmp_path_factory.mktemp("languages"),
        TIFFIN_PROFILE="laptop",
        TIFFIN_EMBEDDING__MODEL="multilingual-e5-small",
        TIFFIN_SAFETY__ENABLED="false",
    ) as stack:
        yield stack


@pytest.mark.parametrize("kind", ["across", "same"])
def test_the_sentence_that_answers_is_quoted(stack: Stack, kind: str) -> None:
    asked = [row for row in QUESTIONS if row["kind"] == kind and row["language"] != "en"]
    quoted = 0
    for row in asked:
        body = {"query": row["question"], "documents": row["documents"]}
        answer = httpx2.post(f"{stack.url}/rag_query", json=body, timeout=60).json()
        quoted += row["supporting"][0] in answer["answer"]
    assert quoted >= 0.9 * len(asked)


def test_what_is_not_checked_is_said(stack: Stack) -> None:
    row = next(row for row in QUESTIONS if row["id"] == "hotel-de-1")
    body = {"query": row["question"], "documents": row["documents"]}
    answer = httpx2.post(f"{stack.url}/rag_query", json=body, timeout=60).json()
    assert answer["degraded"] == ["language"]
    assert answer["probability"] is None
    assert answer["route"]["tier"] == "quote"
