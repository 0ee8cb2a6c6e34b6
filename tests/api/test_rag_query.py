"""What the entry service makes of a question: its calls, their order, and what it does without."""

import asyncio
import json

import pytest
from prometheus_client import REGISTRY

from tests.support.services import Services, entry, frames_of, with_door
from tests.support.soon import SOON_S
from tiffin.config.settings import Settings
from tiffin.core.errors import FieldTooLarge, Overloaded, Unavailable, UpstreamFailed
from tiffin.grounding.answerable import Head
from tiffin.pipeline.stages.embed import MOST_EMBEDDED

DOCUMENTS = [
    "The Danube is a long river.",
    "The tower is 324 metres tall.",
    "The tower was built in 1889.",
    "Bread is baked in an oven.",
]
QUESTION = {"query": "how tall is the tower", "documents": DOCUMENTS}


async def test_one_question_makes_four_calls_two_of_them_before_the_model(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json=QUESTION)
    assert response.status_code == 200
    assert sorted(services.calls) == ["embed", "rerank", "route", "small"]
    in_sequence = [call for call in services.calls if call != "route"]
    assert in_sequence == ["embed", "rerank", "small"]


async def test_an_empty_document_does_not_end_the_others(
    services: Services, settings: Settings
) -> None:
    documents = ["", DOCUMENTS[1], {"text": " "}]
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json={**QUESTION, "documents": documents})
    assert [source["document"] for source in response.json()["sources"]] == [1]


async def test_a_passage_given_three_times_takes_one_place(
    services: Services, settings: Settings
) -> None:
    tall, built = "The Vell Tower is 212 metres tall.", "The Vell Tower was built in 1931."
    documents = [tall, f" {tall}\n", tall.replace(" ", "  "), built]
    asked = {"query": "how tall is the Vell Tower and when was it built", "documents": documents}
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json=asked)).json()
    assert {source["document"] for source in answer["sources"]} == {0, 3}
    assert "1931" in services.prompts[0].messages[-1].content


@pytest.mark.parametrize(
    ("model", "all_of_it"),
    [("qwen2.5-coder-0.5b-instruct", False), ("qwen2.5-coder-1.5b-instruct-bf16", True)],
)
async def test_a_model_on_the_cpu_reads_only_what_would_be_quoted(
    services: Services, settings: Settings, model: str, *, all_of_it: bool
) -> None:
    asked = "how tall is the old iron Vell Tower beside the harbour bridge"
    right = "The old iron Vell Tower beside the harbour bridge is 212 metres tall."
    body = {"query": asked, "documents": [right, DOCUMENTS[3]], "grounding": "strict"}
    services.models = {"small": model}
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json=body)).json()
    prompt = services.prompts[0].messages[-1].content
    assert right in prompt
    assert ("Bread" in prompt) == all_of_it
    assert len(answer["sources"]) == 2, "both passages were read by the reranker"


async def test_what_the_embedder_did_not_read_is_cut_until_it_reads_all(
    services: Services, settings: Settings
) -> None:
    services.reads = 20
    long = "Some words follow here. " * 24 + "The tower is 324 metres tall."
    async with entry(services, settings) as client:
        asked = {"query": "how tall is the tower", "documents": [DOCUMENTS[0], long], "top_k": 20}
        answer = (await client.post("/rag_query", json=asked)).json()
    assert services.calls.count("embed") > 1
    best = answer["sources"][0]
    assert "324" in best["text"]
    assert best["text"] == long[best["start"] : best["end"]]
    assert all(len(source["text"].split()) <= 20 for source in answer["sources"])


async def test_evidence_costs_two_more_calls_and_a_refusal_asks_no_model(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        question = {**QUESTION, "grounding": "strict"}
        await client.post("/rag_query", json=question)
        in_sequence = [call for call in services.calls if call != "route"]
        assert in_sequence[:4] == ["embed", "rerank", "rerank", "embed"]
        services.calls.clear()
        question["query"] = "who painted it"
        refused = (await client.post("/rag_query", json=question)).json()
    assert not refused["answered"]
    assert "small" not in services.calls


async def test_of_hundreds_of_passages_only_those_with_words_of_the_question_are_embedded(
    services: Services, settings: Settings
) -> None:
    documents = [f"Loaf number {number} is baked in an oven." for number in range(300)]
    documents[170] = DOCUMENTS[1]
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json={**QUESTION, "documents": documents})).json()
    assert answer["sources"][0]["document"] == 170
    assert answer["usage"]["embedding_tokens"] == 1 + MOST_EMBEDDED, "the stand-in counts texts"
    assert answer["degraded"] == []
    assert services.calls.count("rerank") == 1


async def test_if_none_of_them_is_relevant_the_passages_that_were_left_out_are_searched(
    services: Services, settings: Settings
) -> None:
    """The stand-ins count small words too, which are no reason to keep a passage."""
    documents = [f"Some tower number {number} was made of stone." for number in range(100)]
    documents[70] = "He is up on it."
    asked = {"query": "is he up on it or at a tower", "documents": documents, "cache": False}
    question = {**QUESTION, **asked}
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json=question)).json()
        assert services.calls.count("embed") == services.calls.count("rerank") == 2
        assert answer["sources"][0]["document"] == 70
        services.fails["rerank"] = Unavailable("away")
        answer = (await client.post("/rag_query", json=question)).json()
    assert answer["degraded"] == ["rerank"]


async def test_mark_answers_all_the_same_and_says_that_the_documents_do_not(
    services: Services, settings: Settings
) -> None:
    question = {**QUESTION, "query": "who painted it", "model": "quote"}
    async with entry(services, settings) as client:
        strict, marked = [
            (await client.post("/rag_query", json={**question, "grounding": mode})).json()
            for mode in ("strict", "mark")
        ]
    assert (strict["answered"], marked["answered"]) == (False, False)
    assert strict["probability"] == marked["probability"]
    assert not any(text in strict["answer"] for text in DOCUMENTS)
    assert any(text in marked["answer"] for text in DOCUMENTS)
    assert marked["citations"]


async def test_a_model_that_finds_no_answer_is_taken_at_its_word(
    services: Services, settings: Settings
) -> None:
    services.answer = ("The text does", " not say.", " The tower", " is 9 metres tall.")
    asked = {**QUESTION, "grounding": "strict"}
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json=asked)).json()
        streamed = await client.post("/rag_query", json={**asked, "stream": True, "cache": False})
    assert (answer["answered"], answer["citations"]) == (False, [])
    assert answer["answer"] == "The documents do not say."
    assert (answer["route"]["tier"], answer["finish_reason"]) == ("small", "stop")
    assert "9 metres" not in streamed.text


async def test_documents_that_disagree_about_a_figure_are_named(
    services: Services, settings: Settings
) -> None:
    documents = ["The tower is 324 metres tall.", "The tower is 330 metres tall.", "Bread."]
    question = {**QUESTION, "documents": documents, "model": "quote", "grounding": "strict"}
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json=question)).json()
    (contradiction,) = answer["contradictions"]
    sources = {source["index"]: source["document"] for source in answer["sources"]}
    assert sorted(sources[index] for index in contradiction["sources"]) == [0, 1]
    assert sorted(contradiction["quotes"]) == documents[:2]


async def test_routing_takes_the_querys_embedding_and_runs_beside_the_reranker(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"route": 0.3, "embed": 0.1, "rerank": 0.3}
    async with entry(services, settings) as client:
        timings = (await client.post("/rag_query", json=QUESTION)).json()["timings"]
    assert services.calls.count("embed") == 1, "the router gets the vector that retrieval made"
    assert services.calls.count("route") == 1
    before_generation = timings["total_ms"] - timings["generate_ms"]
    assert before_generation < 100 + 300 + 250, "routing would add its 300 ms if it came in between"


async def test_the_answer_comes_with_sources_citations_and_usage(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json=QUESTION)).json()
    assert answer["answer"] == "The tower is 324 metres tall."
    assert (len(answer["sources"]), answer["sources"][0]["document"]) == (2, 1)
    (citation,) = answer["citations"]
    assert (citation["source"], citation["quote"]) == (1, DOCUMENTS[1])
    assert answer["usage"]["prompt_tokens"] == 7
    assert answer["route"] == {
        "tier": "small",
        "model": "model-small",
        "reason": "the cheapest that is expected to suffice with 0.7: 0.85",
    }


async def test_documents_keep_their_id_and_title(services: Services, settings: Settings) -> None:
    document = {"text": DOCUMENTS[1], "id": "doc-7", "title": "Towers"}
    async with entry(services, settings) as client:
        body = {"query": "how tall is the tower", "documents": [document, DOCUMENTS[0]]}
        answer = (await client.post("/rag_query", json=body)).json()
    assert (answer["sources"][0]["document_id"], answer["sources"][0]["title"]) == (
        "doc-7",
        "Towers",
    )
    assert "Towers: The tower" in services.prompts[0].messages[-1].content


async def test_a_checked_sentence_leaves_with_its_citation(
    services: Services, settings: Settings
) -> None:
    services.answer = ("The tower is 324 ", "metres tall. ", "It is 9 metres", " wide.")
    async with entry(services, settings) as client:
        body = {**QUESTION, "stream": True, "grounding": "mark"}
        events = frames_of((await client.post("/rag_query", json=body)).text)
    *_, answer = events
    deltas = [event for event in events if event["object"] == "rag.delta"]
    assert "".join(delta["text"] for delta in deltas) == answer["answer"]
    assert [bool(delta["citations"]) for delta in deltas] == [True, False]
    assert answer["citations"] == deltas[0]["citations"]


@pytest.mark.parametrize(("probability", "tier"), [(0.95, "quote"), (0.7, "small")])
async def test_decisive_evidence_is_quoted_and_for_other_a_model_writes(
    services: Services,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    probability: float,
    tier: str,
) -> None:
    monkeypatch.setattr(Head, "probability", lambda *_: probability)
    rag = settings.rag.model_copy(update={"prefer": "decisive", "grounding": "mark"})
    async with entry(services, settings.model_copy(update={"rag": rag})) as client:
        answer = (await client.post("/rag_query", json=QUESTION)).json()
        named = (await client.post("/rag_query", json={**QUESTION, "model": "small"})).json()
    assert (answer["route"]["tier"], named["route"]["tier"]) == (tier, "small")


async def test_a_client_that_leaves_stops_generation_at_once(
    services: Services, settings: Settings
) -> None:
    services.answer = ("word ",) * 10_000
    services.delays_s = {"token": 0.005}
    async with entry(services, settings) as client:
        async with client.stream(
            "POST", "/rag_query", json={**QUESTION, "stream": True}
        ) as response:
            async for line in response.aiter_lines():
                if "rag.delta" in line:
                    break
        async with asyncio.timeout(SOON_S):
            await services.stopped.wait()


async def test_a_client_that_leaves_before_the_first_byte_stops_the_work_too(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"token": 30}
    async with entry(services, settings) as client:
        call = asyncio.create_task(client.post("/rag_query", json=QUESTION))
        await asyncio.sleep(0.3)
        call.cancel()
        async with asyncio.timeout(SOON_S):
            await services.stopped.wait()


async def test_without_the_reranker_the_order_of_the_search_stands_and_is_said(
    services: Services, settings: Settings
) -> None:
    services.fails = {"rerank": UpstreamFailed("it broke")}
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json=QUESTION)).json()
    assert answer["degraded"] == ["rerank"]
    assert answer["sources"][0]["document"] == 1


async def test_without_the_router_its_rules_still_choose(
    services: Services, settings: Settings
) -> None:
    services.fails = {"route": Unavailable("it is gone")}
    async with entry(services, settings) as client:
        body = {**QUESTION, "query": "compare the tower and the river"}
        answer = (await client.post("/rag_query", json=body)).json()
    assert answer["degraded"] == ["router"]
    assert answer["route"]["tier"] == "large"


async def test_a_tier_that_cannot_begin_is_passed_over(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": Overloaded("full")}
    async with entry(services, settings) as client:
        answer = (await client.post("/rag_query", json=QUESTION)).json()
    assert (answer["route"]["tier"], answer["degraded"]) == ("large", ["tier"])


async def test_a_tier_named_by_the_request_has_no_substitute(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": Overloaded("full")}
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json={**QUESTION, "model": "small"})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]["type"] == "overloaded_error"


async def test_a_prompt_too_long_for_the_model_is_given_with_fewer_passages(
    settings: Settings,
) -> None:
    class Narrow(Services):
        async def _called(self, name: str) -> None:
            await super()._called(name)
            if name == "small" and len(self.prompts) == 1:
                message = "too long"
                raise FieldTooLarge(message, code="context_length_exceeded")

    narrow = Narrow()
    async with entry(narrow, settings) as client:
        answer = (await client.post("/rag_query", json=QUESTION)).json()
    assert answer["degraded"] == ["fewer_passages"]
    assert len(answer["sources"]) == 1


async def test_a_failure_in_mid_stream_ends_in_an_error_frame_without_done(
    services: Services, settings: Settings
) -> None:
    services.breaks_after = 2
    services.fails = {"mid-stream": UpstreamFailed("the engine died")}
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json={**QUESTION, "stream": True})
    frames = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert response.status_code == 200
    assert "[DONE]" not in frames
    assert json.loads(frames[-1])["error"]["message"] == "the engine died"


async def test_one_question_too_many_is_refused_before_any_call(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"embed": 0.5}
    async with entry(services, with_door(settings, 1, max_waiting=0)) as client:
        first = asyncio.create_task(client.post("/rag_query", json=QUESTION))
        await asyncio.sleep(0.2)
        refused = await client.post("/rag_query", json=QUESTION)
        assert (await first).status_code == 200
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert services.calls.count("embed") == 1


async def test_an_answer_is_counted_as_one_and_not_as_abandoned(
    services: Services, settings: Settings
) -> None:
    def counted(outcome: str) -> float:
        return REGISTRY.get_sample_value("tiffin_answers_total", {"outcome": outcome}) or 0.0

    before = counted("ok"), counted("abandoned")
    async with entry(services, settings) as client:
        await client.post("/rag_query", json=QUESTION)
    assert (counted("ok"), counted("abandoned")) == (before[0] + 1, before[1])


async def test_the_request_id_comes_back_or_is_made(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        given = await client.post("/rag_query", json=QUESTION, headers={"x-request-id": "abc-1"})
        made = await client.get("/livez")
    assert given.headers["x-request-id"] == given.json()["id"] == "abc-1"
    assert made.headers["x-request-id"].startswith("req-")


async def test_of_two_lines_of_a_header_the_first_counts(
    services: Services, settings: Settings
) -> None:
    lines = [("x-request-id", "one"), ("x-request-id", "two")]
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json=QUESTION, headers=lines)
    assert response.headers["x-request-id"] == "one"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/version", "/openapi.json"])
async def test_the_operator_s_routes_answer(
    services: Services, settings: Settings, path: str
) -> None:
    async with entry(services, settings) as client:
        assert (await client.get(path)).status_code == 200
