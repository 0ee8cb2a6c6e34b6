"""Both tiers at once: what `TIFFIN_TIERS__LARGE__MODEL` turns on, with the real large model."""

from collections.abc import Generator
from typing import Any

import httpx
import pytest

from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MODEL = "qwen2.5-coder-1.5b-instruct"


@pytest.fixture(scope="module")
def two_tiers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack, None, None]:
    directory = tmp_path_factory.mktemp("two-tiers")
    with running_stack(directory, TIFFIN_TIERS__LARGE__MODEL=MODEL) as running:
        yield running


def ask(stack: Stack, corpus: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"documents": corpus["passages"], "max_tokens": 60, **fields}
    response = httpx.post(f"{stack.url}/rag_query", json=body, timeout=120)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_the_large_tier_answers_when_it_is_named(two_tiers: Stack, corpus: dict[str, Any]) -> None:
    answer = ask(two_tiers, corpus, query="How deep is Lake Baikal?", model="large")
    assert (answer["route"]["tier"], answer["route"]["model"]) == ("large", MODEL)
    assert "1,642" in answer["answer"]


def test_the_router_sends_a_demanding_question_there_and_a_plain_one_not(
    two_tiers: Stack, corpus: dict[str, Any]
) -> None:
    plain = ask(two_tiers, corpus, query="How deep is Lake Baikal?")
    demanding = ask(two_tiers, corpus, query="Explain why Lake Baikal is so deep, step by step.")
    assert plain["route"]["tier"] == "small"
    assert (demanding["route"]["tier"], demanding["degraded"]) == ("large", [])
    assert "suffices" in demanding["route"]["reason"]
