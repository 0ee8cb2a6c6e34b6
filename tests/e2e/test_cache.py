"""The cache in front of real models."""

from collections.abc import Generator
from typing import Any

import httpx
import pytest

from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DOCUMENTS = [
    "The lighthouse of Vell is 41 metres tall. It was built by Anna Kell in 1889.",
    "Bread is baked in the old mill every morning, and sold until noon.",
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack, None, None]:
    switches = {f"TIFFIN_CACHE__{name}": "true" for name in ("EXACT", "SEMANTIC", "RETRIEVAL")}
    with running_stack(tmp_path_factory.mktemp("cache"), **switches) as running:
        yield running


def ask(stack: Stack, query: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    body = {"query": query, "documents": DOCUMENTS, "model": "small", "timeout_ms": 60_000}
    response = httpx.post(f"{stack.url}/rag_query", json={**body, **changes}, timeout=70)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    print(query, response.headers.get("x-tiffin-cache"), answer["answer"], answer["degraded"])
    return response.headers.get("x-tiffin-cache", "-"), answer


def test_the_same_question_other_words_and_another_question(stack: Stack) -> None:
    asked = "How tall is the lighthouse of Vell?"
    first, written = ask(stack, asked)
    assert (first, written["degraded"]) == ("miss", [])
    assert "41" in written["answer"]
    same, again = ask(stack, asked)
    assert (same, again["answer"]) == ("exact", written["answer"])
    other, recalled = ask(stack, "Please tell me how tall the lighthouse of Vell is.")
    assert (other, recalled["answer"]) == ("semantic", written["answer"])
    assert recalled["citations"] == written["citations"]
    assert recalled["timings"]["generate_ms"] < written["timings"]["generate_ms"] / 5
    for different in (
        "How tall is the lighthouse of Kell?",
        "When was the lighthouse of Vell built?",
        "How tall is the lighthouse of Vell not?",
        "How tall was the lighthouse of Vell in 1880?",
    ):
        assert ask(stack, different)[0] != "semantic"


def test_documents_that_were_asked_of_before_are_not_embedded_again(stack: Stack) -> None:
    ask(stack, "Who built the lighthouse of Vell?", model="quote")
    _, answer = ask(stack, "When is bread sold?", model="quote")
    tokens = answer["usage"]["embedding_tokens"]
    assert tokens < 40, "the question, and sentences that were not evidence before"
