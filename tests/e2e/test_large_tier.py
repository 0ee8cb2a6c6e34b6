"""Both tiers at once: what `TIFFIN_TIERS__LARGE__MODEL` turns on, with the real large model."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.support.asking import ask
from tests.support.stack import WRITING, Stack, running_stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MODEL = "qwen2.5-coder-1.5b-instruct"


@pytest.fixture(scope="module")
def two_tiers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack, None, None]:
    directory = tmp_path_factory.mktemp("two-tiers")
    asked = {
        "TIFFIN_TIERS__LARGE__MODEL": MODEL,
        "TIFFIN_RAG__CONFIRM": "large",
        "TIFFIN_CACHE__SEMANTIC": "true",
        "TIFFIN_CACHE__CONFIRM": "large",
    }
    with running_stack(directory, **asked, **WRITING) as running:
        yield running


def test_the_large_tier_answers_when_it_is_named(two_tiers: Stack, corpus: dict[str, Any]) -> None:
    answer = ask(two_tiers.url, corpus, model="large", max_tokens=60)
    assert (answer["route"]["tier"], answer["route"]["model"]) == ("large", MODEL)
    assert "1,642" in answer["answer"]


def test_the_router_sends_a_demanding_question_there_and_a_plain_one_not(
    two_tiers: Stack, corpus: dict[str, Any]
) -> None:
    plain = ask(two_tiers.url, corpus, max_tokens=60)
    query = "Explain why Lake Baikal is so deep, step by step."
    demanding = ask(two_tiers.url, corpus, query, max_tokens=60)
    assert plain["route"]["tier"] == "small"
    assert (demanding["route"]["tier"], demanding["degraded"]) == ("large", [])
    assert "expected to suffice" in demanding["route"]["reason"]


def test_it_confirms_whether_the_documents_answer(two_tiers: Stack) -> None:
    pond = {"passages": ["The pond is 12 metres deep. It lies in the north."]}
    said = {
        query: ask(two_tiers.url, pond, query, model="quote", grounding="strict")
        for query in ("How far down does the lake go?", "Who discovered the lake?")
    }
    assert [answer["answered"] for answer in said.values()] == [True, False]
    assert all(answer["timings"]["confirm_ms"] > 0 for answer in said.values())
    assert not any(answer["degraded"] for answer in said.values())


def test_it_says_whether_a_kept_answer_fits_a_question_in_other_words(two_tiers: Stack) -> None:
    texts = {
        "passages": [
            "The lighthouse of Vell was built in 1904 by Karl Voss. It is 41 metres tall.",
            "The harbour museum is free for members on Sundays.",
            "The ferry to Kell leaves every morning at seven.",
        ]
    }
    cached = {
        query: ask(two_tiers.url, texts, query, model="small", grounding="mark")["timings"]
        for query in (
            "Who built the lighthouse of Vell?",
            "By whom was the lighthouse of Vell constructed?",
            "Who painted the lighthouse of Vell?",
        )
    }
    written = [timings["generate_ms"] > 100 for timings in cached.values()]
    assert written == [True, False, True]
    assert list(cached.values())[1]["recall_ms"] > 100, "the tier was asked"
