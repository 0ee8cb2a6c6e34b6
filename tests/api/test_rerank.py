"""Reranking in the shapes of Jina, Cohere, TEI and vLLM, in front of weightless services."""

from typing import Any

import pytest

from tests.support.services import Services, entry
from tiffin.config.settings import Settings

MODEL = "ms-marco-minilm-l-12-v2"
QUERY = "how tall is the tower"
TEXTS = ["a lake", "the tower is tall", "the lake"]
BODY: dict[str, Any] = {"model": MODEL, "query": QUERY, "documents": TEXTS}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
async def test_documents_come_back_best_first_with_scores_from_0_to_1(
    services: Services, settings: Settings, path: str
) -> None:
    async with entry(services, settings) as client:
        body = (await client.post(path, json=BODY)).json()
    assert [result["index"] for result in body["results"]] == [1, 2, 0]
    scores = [result["relevance_score"] for result in body["results"]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] < scores[0] < 1
    assert "document" not in body["results"][0]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert body["meta"]["billed_units"] == {"search_units": 1}
    assert body["id"]
    assert body["model"] == MODEL


async def test_top_n_and_return_documents(services: Services, settings: Settings) -> None:
    asked = {**BODY, "documents": [{"text": text} for text in TEXTS]}
    async with entry(services, settings) as client:
        response = await client.post(
            "/v1/rerank", json={**asked, "top_n": 1, "return_documents": True}
        )
    (result,) = response.json()["results"]
    assert (result["index"], result["document"]) == (1, {"text": TEXTS[1]})


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
async def test_what_asks_for_nothing_is_read_over(
    services: Services, settings: Settings, path: str
) -> None:
    """As by Cohere and Jina, whose clients send documents with a title, an id and more."""
    documents = [{"text": text, "title": "Of water", "id": 7} for text in TEXTS]
    asked = {**BODY, "documents": documents, "return_documents": True, "client_name": "me"}
    async with entry(services, settings) as client:
        plain = (await client.post(path, json=BODY)).json()["results"]
        results = (await client.post(path, json=asked)).json()["results"]
    assert [(one["index"], one["relevance_score"]) for one in results] == [
        (one["index"], one["relevance_score"]) for one in plain
    ]
    assert results[0]["document"] == documents[1], "as it was sent"


async def test_documents_are_read_by_the_fields_named(
    services: Services, settings: Settings
) -> None:
    documents = [{"title": "a lake"}, {"title": "the tower", "more": "is tall"}]
    asked = {"model": MODEL, "query": QUERY, "documents": documents}
    async with entry(services, settings) as client:
        named = await client.post("/v1/rerank", json={**asked, "rank_fields": ["title"]})
        missing = await client.post("/v1/rerank", json={**asked, "rank_fields": ["title", "more"]})
        unnamed = await client.post("/v1/rerank", json=asked)
    assert named.json()["results"][0]["index"] == 1
    assert missing.json()["error"]["param"] == "documents[0].more"
    assert unnamed.json()["error"]["param"] == "documents[0].text"


@pytest.mark.parametrize("field", ["instruction", "max_chunks_per_doc"])
async def test_what_would_change_the_scores_is_refused(
    services: Services, settings: Settings, field: str
) -> None:
    async with entry(services, settings) as client:
        answer = await client.post("/v1/rerank", json={**BODY, field: 3})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rerank", {"query": QUERY, "texts": TEXTS}),
        ("/embed", {"inputs": TEXTS}),
    ],
)
async def test_tei_reads_over_what_it_does_not_know(
    services: Services, settings: Settings, path: str, body: dict[str, Any]
) -> None:
    async with entry(services, settings) as client:
        answer = await client.post(path, json={**body, "user": "me", "model_name": "x"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("sent", [None, 512, 4096])
async def test_a_cut_that_cuts_nothing_is_accepted(
    services: Services, settings: Settings, sent: int | None
) -> None:
    """LangChain sends null, Haystack 4,096."""
    fields = {"max_tokens_per_doc": sent, "return_documents": None}
    async with entry(services, settings) as client:
        answer = await client.post("/v2/rerank", json=BODY | fields)
    assert answer.status_code == 200, answer.text


async def test_a_body_with_texts_is_tei_s(services: Services, settings: Settings) -> None:
    asked = {"query": QUERY, "texts": TEXTS, "raw_scores": True, "return_text": True}
    async with entry(services, settings) as client:
        ranks = (await client.post("/rerank", json=asked)).json()
        unsaid = {"query": QUERY, "texts": TEXTS, "truncate": None}
        plain = (await client.post("/rerank", json=unsaid)).json()
    assert ranks[0] == {"index": 1, "score": 2.0, "text": TEXTS[1]}
    assert [rank["index"] for rank in plain] == [1, 2, 0]
    assert plain[0]["score"] == pytest.approx(0.881, abs=0.001)
    assert "text" not in plain[0]


@pytest.mark.parametrize(
    ("text_1", "text_2", "scores"),
    [
        ("the tower", "the tower", [0.5]),
        ("the tower", ["a lake", "the tower"], [0.119, 0.5]),
        (["a lake", "the tower"], ["the lake", "the tower"], [0.269, 0.5]),
    ],
)
async def test_scores_come_in_the_order_of_the_pairs(
    services: Services, settings: Settings, text_1: Any, text_2: Any, scores: list[float]
) -> None:
    async with entry(services, settings) as client:
        body = (await client.post("/score", json={"text_1": text_1, "text_2": text_2})).json()
    assert [item["score"] for item in body["data"]] == pytest.approx(scores, abs=0.001)
    assert body["usage"]["total_tokens"] == len(scores)


@pytest.mark.parametrize(
    ("path", "change", "status", "param", "says"),
    [
        ("/v1/rerank", {"query": ""}, 400, "query", "at least 1 character"),
        ("/v1/rerank", {"query": "x" * 8001}, 422, "query", "8,001 characters"),
        ("/v1/rerank", {"documents": []}, 400, "documents", "at least 1 item"),
        ("/v1/rerank", {"documents": ["x"] * 1001}, 422, "documents", "1,001 documents"),
        ("/rerank", {"documents": [5]}, 400, "documents[0]", "valid"),
        ("/v2/rerank", {"top_n": 0}, 400, "top_n", "greater than or equal to 1"),
        ("/v2/rerank", {"model": "rerank-v3.5"}, 404, "model", MODEL),
        ("/v2/rerank", {"max_tokens_per_doc": 511}, 400, "max_tokens_per_doc", "reads 512 tokens"),
        ("/v2/rerank", {"rank_fields": []}, 400, "rank_fields", "at least 1 item"),
        ("/score", {}, 400, "text_1", "required"),
    ],
)
async def test_a_bad_field_is_named(
    services: Services,
    settings: Settings,
    path: str,
    change: dict[str, Any],
    status: int,
    param: str,
    says: str,
) -> None:
    async with entry(services, settings) as client:
        response = await client.post(path, json=BODY | change if path != "/score" else change)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    assert says in error["message"]
    assert services.calls == []


@pytest.mark.parametrize("empty", ["", " \n"])
async def test_an_empty_document_never_wins_and_never_ends_the_others(
    services: Services, settings: Settings, empty: str
) -> None:
    texts = [empty, "a lake", "the tower is tall"]
    async with entry(services, settings) as client:
        body = (await client.post("/v1/rerank", json={**BODY, "documents": texts})).json()
        asked = {"query": QUERY, "texts": texts, "raw_scores": True}
        ranks = (await client.post("/rerank", json=asked)).json()
        score = {"text_1": "tower", "text_2": texts}
        scores = (await client.post("/score", json=score)).json()["data"]
        alone = await client.post("/v1/rerank", json={**BODY, "documents": [empty]})
    assert [result["index"] for result in body["results"]] == [2, 1, 0]
    assert body["results"][-1]["relevance_score"] < 1e-9
    assert [rank["index"] for rank in ranks] == [2, 1, 0]
    assert scores[0]["score"] < 1e-9 < scores[1]["score"]
    assert alone.json()["usage"]["total_tokens"] == 0
    assert services.calls == ["rerank"] * 3


async def test_an_answer_says_which_documents_were_not_read_to_their_end(
    services: Services, settings: Settings
) -> None:
    services.reads = 3
    texts = ["", "a lake", "the tower is tall"]
    async with entry(services, settings) as client:
        answer = await client.post("/v1/rerank", json={**BODY, "documents": texts})
        scores = await client.post("/score", json={"text_1": QUERY, "text_2": texts})
        bare = await client.post("/rerank", json={"query": QUERY, "texts": texts})
    assert answer.json()["usage"]["truncated_inputs"] == [2]
    assert scores.json()["usage"]["truncated_inputs"] == [2]
    assert [one.headers["x-tiffin-truncated"] for one in (answer, scores, bare)] == ["1"] * 3


@pytest.mark.parametrize("names", [("queries", "documents"), ("data_1", "data_2")])
async def test_the_sides_have_vllm_s_other_names_too(
    services: Services, settings: Settings, names: tuple[str, str]
) -> None:
    async with entry(services, settings) as client:
        body = dict(zip(names, ("the tower", ["a lake", "the tower"]), strict=True))
        scores = (await client.post("/score", json=body)).json()["data"]
    assert [item["score"] for item in scores] == pytest.approx([0.119, 0.5], abs=0.001)


async def test_pairs_that_do_not_pair_up_are_refused(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        response = await client.post("/score", json={"text_1": ["a", "b"], "text_2": ["c"]})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "text_1")
