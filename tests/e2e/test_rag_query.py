"""A question and thirty real passages, answered by the real stack."""

# Texts are Chinese, too.
# ruff: noqa: RUF001

import asyncio
import json
import time
from typing import Any

import bentoml
import httpx
import psutil
import pytest

from tests.support.asking import BAIKAL, PATIENT_MS, ask
from tests.support.stack import Stack

pytestmark = pytest.mark.e2e


def test_the_answer_is_grounded_and_cites_the_passage_that_says_it(
    stack: Stack, corpus: dict[str, Any]
) -> None:
    answer = ask(stack.url, corpus)
    assert "1,642" in answer["answer"]
    first = answer["sources"][0]
    assert corpus["passages"][first["document"]][first["start"] : first["end"]] == first["text"]
    cited = [answer["sources"][citation["source"] - 1] for citation in answer["citations"]]
    assert any("Baikal" in source["text"] for source in cited)
    citation = answer["citations"][0]
    assert citation["quote"] in cited[0]["text"]
    assert 0 <= citation["start"] < citation["end"] <= len(answer["answer"])


def test_the_answer_says_what_it_cost_how_long_it_took_and_who_gave_it(
    stack: Stack, corpus: dict[str, Any]
) -> None:
    # Vectors and scores of known texts are kept, so the texts are new.
    corpus = {**corpus, "passages": [f"{text} So it was." for text in corpus["passages"]]}
    answer = ask(stack.url, corpus, model="small")
    usage, timings = answer["usage"], answer["timings"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["rerank_tokens"] > 1000
    assert usage["embedding_tokens"] > 1000
    names = ("embed_ms", "search_ms", "rerank_ms", "evidence_ms")
    stages = sum(timings[name] for name in names)
    assert 0 < timings["first_token_ms"] <= timings["total_ms"]
    assert stages + timings["generate_ms"] <= timings["total_ms"] * 1.01
    assert answer["route"]["tier"] == "small"
    assert answer["route"]["model"] == "smollm2-135m-instruct"
    assert set(answer["degraded"]) <= {"unsupported"}


def test_by_default_the_laptop_quotes_and_every_quote_stands_in_its_document(
    stack: Stack, corpus: dict[str, Any]
) -> None:
    answer = ask(stack.url, corpus)
    assert (answer["route"]["tier"], answer["answered"]) == ("quote", True)
    assert answer["usage"]["total_tokens"] == 0
    for citation in answer["citations"]:
        source = answer["sources"][citation["source"] - 1]
        assert citation["quote"] in corpus["passages"][source["document"]]
        assert answer["answer"][citation["start"] : citation["end"]] == citation["quote"]


@pytest.mark.parametrize("model", ["auto", "small"])
def test_what_the_documents_do_not_say_is_refused_in_the_language_of_the_question(
    stack: Stack, corpus: dict[str, Any], model: str
) -> None:
    asked = {"Who is the CEO of Acme?": "do not say", "Wer leitet Acme?": "steht nicht"}
    for query, said in asked.items():
        answer = ask(stack.url, corpus, query, model=model)
        assert said in answer["answer"]
        assert (answer["answered"], answer["citations"]) == (False, [])
        assert answer["probability"] < 0.5
        assert answer["usage"]["total_tokens"] == 0, "no model is asked"


@pytest.mark.parametrize(
    ("query", "documents", "said"),
    [
        (
            "Wie lange gilt die Garantie?",
            ["Der Versand dauert drei Tage.", "Die Garantie auf alle Schuhe gilt zwei Jahre."],
            "zwei Jahre",
        ),
        ("保修期多长?", ["商店上午十点开门。", "所有鞋子的保修期为两年。"], "两年"),
        ("Wie lange gilt die Garantie?", ["Parcels take three days."], "steht nicht"),
    ],
)
def test_a_language_that_the_models_do_not_read_is_said_and_quoted_by_its_words(
    stack: Stack, query: str, documents: list[str], said: str
) -> None:
    answer = ask(stack.url, {"passages": documents}, query)
    assert said in answer["answer"]
    assert answer["degraded"] == ["language"]
    assert answer["route"]["tier"] == "quote"


def test_a_fact_at_the_end_of_a_long_chinese_document_is_found(stack: Stack) -> None:
    """The embedder reads 256 tokens, which are 254 characters of Chinese and 1,000 of English.

    Without the cut the vector lacks the fact, and the document ranks last of the six.
    """
    filler = (
        "这座城市有许多公园和博物馆，游客可以在河边散步，也可以在市场里购买新鲜的水果和蔬菜。" * 20
    )
    other = "那座城市的塔有许多游客，塔的旁边有公园，人们在那里欣赏音乐会。" * 20
    others = [other + sign for sign in "甲乙丙丁戊"]
    documents = [*others, filler + "维尔塔的高度是二百一十二米。"]
    answer = ask(stack.url, {"passages": documents}, "维尔塔的高度是多少？", model="quote")
    best = answer["sources"][0]
    assert (best["document"], best["text"][-8:]) == (5, "是二百一十二米。")
    assert "二百一十二米" in answer["answer"]


@pytest.mark.slow
def test_every_question_finds_its_passage(stack: Stack, corpus: dict[str, Any]) -> None:
    found = []
    for question in corpus["questions"]:
        answer = ask(stack.url, corpus, question["question"], max_tokens=1)
        found.append(answer["sources"][0]["document"] == question["passage"])
    assert found == [True] * len(found)


def test_the_same_question_twice_gets_the_same_answer(stack: Stack, corpus: dict[str, Any]) -> None:
    first, second = (ask(stack.url, corpus, model="small", max_tokens=60) for _ in range(2))
    assert first["answer"] == second["answer"]
    assert [s["score"] for s in first["sources"]] == pytest.approx(
        [s["score"] for s in second["sources"]], abs=1e-4
    )


def test_a_stream_sends_sources_then_text_then_the_whole_answer(
    client: httpx.Client, corpus: dict[str, Any]
) -> None:
    body = {"query": BAIKAL, "documents": corpus["passages"], "stream": True}
    body |= {"timeout_ms": PATIENT_MS, "model": "small", "grounding": "off"}
    with client.stream("POST", "/rag_query", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line and not line.startswith(":")]
        frames = [line.removeprefix("data: ") for line in lines]
    assert frames[-1] == "[DONE]"
    events = [json.loads(frame) for frame in frames[:-1]]
    kinds = [event["object"] for event in events]
    assert kinds == ["rag.sources", *["rag.delta"] * (len(events) - 2), "rag.answer"]
    assert "".join(event["text"] for event in events[1:-1]) == events[-1]["answer"]
    assert events[0]["sources"] == events[-1]["sources"]
    assert len(events) > 10


TOWER = "The tower is 330 metres tall"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("documents", "answered"),
    [
        (["12 34 --- 56", "&&& ///"], False),
        (["1 2 3 4 5 6 7 8 9 10 " * 50], False),
        (["def double(x):\n    return x * 2\n\nclass Empty:\n    pass\n" * 20], False),
        ([f"{TOWER} and {'very old and ' * 800}"], True),
        ([f"富士山は日本で一番高い山です。 {TOWER}. Башня высокая. البرج طويل."], True),
        ([f"{TOWER}."] * 1000, True),
    ],
    ids=["no sentence", "numbers", "code", "one long line", "many scripts", "a thousand copies"],
)
def test_documents_that_are_no_prose_are_answered_from_or_refused(
    stack: Stack, documents: list[str], *, answered: bool
) -> None:
    answer = ask(stack.url, {"passages": documents}, "How tall is the tower?")
    assert answer["answered"] is answered
    assert ("330" in answer["answer"]) is answered


def test_bentoml_s_clients_ask_and_stream(stack: Stack, corpus: dict[str, Any]) -> None:
    asked = {"query": BAIKAL, "documents": corpus["passages"], "max_tokens": 60}
    asked |= {"timeout_ms": PATIENT_MS, "model": "small", "grounding": "off"}
    with bentoml.SyncHTTPClient(stack.url, timeout=60) as client:
        answer = client.rag_query(**asked)
        streamed = "".join(client.rag_stream(**asked))
    assert "1,642" in answer["answer"]
    assert streamed.endswith("data: [DONE]\n\n")

    async def ask_async() -> tuple[dict[str, Any], str]:
        quoted = {"query": BAIKAL, "documents": corpus["passages"], "timeout_ms": PATIENT_MS}
        async with bentoml.AsyncHTTPClient(stack.url, timeout=60) as client:
            whole = await client.rag_query(**quoted)
            pieces = client.rag_stream(**quoted)
            return whole, "".join([piece async for piece in pieces])

    whole, pieces = asyncio.run(ask_async())
    assert "1,642" in whole["answer"]
    assert pieces.endswith("data: [DONE]\n\n")


def test_a_client_that_leaves_stops_generation(stack: Stack, corpus: dict[str, Any]) -> None:
    """Left to itself this answer would keep the engine busy for ten seconds or more."""
    worker = stack.worker("SmallLLM")
    body = {
        "query": "Write a very long story about everything that is told here.",
        "documents": corpus["passages"],
        "stream": True,
        "max_tokens": 2000,
        "temperature": 2.0,
        "seed": 1,
        "timeout_ms": PATIENT_MS,
        "model": "small",
        "grounding": "off",
    }
    with httpx.stream("POST", f"{stack.url}/rag_query", json=body, timeout=60) as response:
        lines = response.iter_lines()
        while "rag.delta" not in next(lines):
            pass
        assert _cpu_share(worker, 0.3) > 0.05, "the engine should be generating"
    time.sleep(0.5)
    assert _cpu_share(worker, 0.5) < 0.2, "the engine should have stopped"


def _cpu_share(process: psutil.Process, seconds: float) -> float:
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / seconds
