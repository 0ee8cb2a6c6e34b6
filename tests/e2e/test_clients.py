"""The clients that people use today, against the real stack with real models."""

import base64
import json
from pathlib import Path
from typing import Any

import cohere
import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient

from models.catalog import load_catalog
from models.store import Store
from tests.support.stack import Stack
from tiffin.config.settings import load_settings

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EMBEDDER, RERANKER = "all-minilm-l6-v2", "ms-marco-minilm-l-12-v2"
QUESTION = "How deep is Lake Baikal?"


def weights(model: str) -> Path:
    return Store(load_settings().home).path(load_catalog().get(model))


@pytest.fixture(scope="session")
def bare_vectors(corpus: dict[str, Any]) -> Any:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(weights(EMBEDDER)), device="cpu", local_files_only=True)
    return model.encode([QUESTION, *corpus["passages"]], normalize_embeddings=True)


@pytest.fixture(scope="session")
def bare_order(corpus: dict[str, Any]) -> list[int]:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(weights(RERANKER)), device="cpu", local_files_only=True)
    scores = model.predict([(QUESTION, passage) for passage in corpus["passages"]])
    order: list[int] = np.argsort(-np.asarray(scores), kind="stable").tolist()
    return order


@pytest.fixture
def openai_client(stack: Stack) -> Any:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openai_s_client_gets_the_bare_library_s_vectors(
    openai_client: openai.OpenAI, corpus: dict[str, Any], bare_vectors: Any
) -> None:
    """It asks for base64 unless it is told not to."""
    texts = [QUESTION, *corpus["passages"]]
    implied = openai_client.embeddings.create(model=EMBEDDER, input=texts)
    floats = openai_client.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")
    for answer in (implied, floats):
        vectors = np.array([item.embedding for item in answer.data])
        np.testing.assert_allclose(vectors, bare_vectors, atol=1e-5)
        order = np.argsort(-(vectors[1:] @ vectors[0]))
        assert order.tolist() == np.argsort(-(bare_vectors[1:] @ bare_vectors[0])).tolist()
    assert implied.usage.prompt_tokens == floats.usage.prompt_tokens > 1000


def test_base64_is_little_endian_float32(openai_client: openai.OpenAI, bare_vectors: Any) -> None:
    answer = openai_client.embeddings.with_raw_response.create(
        model=EMBEDDER, input=QUESTION, encoding_format="base64"
    )
    coded = json.loads(answer.text)["data"][0]["embedding"]
    vector = np.frombuffer(base64.b64decode(coded), "<f4")
    np.testing.assert_allclose(vector, bare_vectors[0], atol=1e-5)


def test_token_arrays_are_embedded_as_they_are(
    openai_client: openai.OpenAI, bare_vectors: Any
) -> None:
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(weights(EMBEDDER))(QUESTION).input_ids
    one = openai_client.embeddings.create(model=EMBEDDER, input=ids)
    two = openai_client.embeddings.create(model=EMBEDDER, input=[ids, ids[:4]])
    np.testing.assert_allclose(one.data[0].embedding, bare_vectors[0], atol=1e-5)
    np.testing.assert_allclose(two.data[0].embedding, bare_vectors[0], atol=1e-5)
    assert one.usage.prompt_tokens == len(ids)
    with pytest.raises(openai.BadRequestError, match="no token has the id 30522"):
        openai_client.embeddings.create(model=EMBEDDER, input=[101, 30522])


def test_openai_s_client_understands_our_failures(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=EMBEDDER):
        openai_client.embeddings.create(model="text-embedding-3-small", input="x")
    with pytest.raises(openai.BadRequestError, match="384"):
        openai_client.embeddings.create(model=EMBEDDER, input="x", dimensions=256)
    names = [model.id for model in openai_client.models.list()]
    assert {"auto", "auto-fast", "auto-quality", EMBEDDER, RERANKER} <= set(names)
    assert openai_client.models.retrieve("auto").id == "auto"


def test_cohere_s_clients_rerank_in_the_bare_library_s_order(
    stack: Stack, corpus: dict[str, Any], bare_order: list[int]
) -> None:
    asked: dict[str, Any] = {"model": RERANKER, "query": QUESTION, "documents": corpus["passages"]}
    with httpx.Client(timeout=60) as http:
        first = cohere.Client("none", base_url=stack.url, httpx_client=http).rerank(
            **asked, return_documents=True
        )
        second = cohere.ClientV2("none", base_url=stack.url, httpx_client=http).rerank(
            **asked, top_n=5
        )
    assert [result.index for result in first.results] == bare_order
    assert [result.index for result in second.results] == bare_order[:5]
    assert first.results[0].document is not None
    assert "1,642" in first.results[0].document.text
    assert all(0 <= result.relevance_score <= 1 for result in first.results)
    assert second.meta is not None
    assert second.meta.billed_units is not None
    assert second.meta.billed_units.search_units == 1


@pytest.mark.parametrize("base", ["", "/v1", "/embed"])
def test_huggingface_hub_s_client_extracts_features(
    stack: Stack, bare_vectors: Any, base: str
) -> None:
    client = InferenceClient(stack.url + base)
    vector = client.feature_extraction(QUESTION, normalize=True, truncate=True)
    np.testing.assert_allclose(vector, [bare_vectors[0]], atol=1e-5)


def test_tei_refuses_what_is_too_long_when_asked_to(stack: Stack) -> None:
    text = "tower " * 300
    whole = httpx.post(f"{stack.url}/embed", json={"inputs": text, "truncate": False})
    cut = httpx.post(f"{stack.url}/embed", json={"inputs": text, "truncate": True}, timeout=60)
    error = whole.json()["error"]
    assert (whole.status_code, error["code"]) == (400, "context_length_exceeded")
    assert cut.status_code == 200


def test_the_bare_url_still_shows_bentoml_s_page(stack: Stack) -> None:
    page = httpx.get(stack.url)
    assert (page.status_code, "html" in page.headers["content-type"]) == (200, True)
