"""Embeddings in OpenAI's shape and in TEI's, in front of weightless services."""

import base64
from typing import Any

import numpy as np
import pytest

from tests.support.services import Services, entry
from tiffin.config.settings import Settings

MODEL = "all-minilm-l6-v2"


@pytest.mark.parametrize(
    ("given", "vectors"),
    [("a tower", 1), (["a tower", "a lake", "tower"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
)
async def test_every_form_of_input_gets_a_vector_each(
    services: Services, settings: Settings, given: Any, vectors: int
) -> None:
    async with entry(services, settings) as client:
        response = await client.post("/v1/embeddings", json={"model": MODEL, "input": given})
    body = response.json()
    assert response.status_code == 200, body
    assert (body["object"], body["model"]) == ("list", MODEL)
    assert [item["index"] for item in body["data"]] == list(range(vectors))
    assert {item["object"] for item in body["data"]} == {"embedding"}
    assert body["usage"] == {"prompt_tokens": vectors, "total_tokens": vectors}


async def test_base64_holds_the_same_numbers_as_float(
    services: Services, settings: Settings
) -> None:
    body = {"model": MODEL, "input": ["a tower", "tower of a lake"]}
    async with entry(services, settings) as client:
        unsaid = {**body, "encoding_format": None, "dimensions": None, "user": None}
        floats = (await client.post("/v1/embeddings", json=unsaid)).json()["data"]
        packed = (
            await client.post("/v1/embeddings", json={**body, "encoding_format": "base64"})
        ).json()["data"]
    for plain, coded in zip(floats, packed, strict=True):
        unpacked = np.frombuffer(base64.b64decode(coded["embedding"]), "<f4")
        assert unpacked.tolist() == plain["embedding"]


@pytest.mark.parametrize(
    ("change", "status", "param", "says"),
    [
        ({"input": ""}, 400, "input", "at least 1 character"),
        ({"input": []}, 400, "input", "at least 1 item"),
        ({"input": [[]]}, 400, "input[0]", "at least 1 item"),
        ({"input": ["x"] * 2049}, 422, "input", "2,049 inputs, the limit is 2,048"),
        ({"input": ["x" * 200_001]}, 422, "input[0]", "the limit is 200,000"),
        ({"input": [1] * 8193}, 422, "input[0]", "8,193 tokens, the limit is 8,192"),
        ({"input": [-1]}, 400, "input[0]", "greater than or equal to 0"),
        ({"model": "text-embedding-3-small"}, 404, "model", MODEL),
        ({"dimensions": 3}, 400, "dimensions", "have 2"),
        ({"encoding_format": "hex"}, 400, "encoding_format", "'float' or 'base64'"),
        ({"colour": "red"}, 400, "colour", "not permitted"),
    ],
)
async def test_a_bad_field_is_named(
    services: Services,
    settings: Settings,
    change: dict[str, Any],
    status: int,
    param: str,
    says: str,
) -> None:
    async with entry(services, settings) as client:
        response = await client.post("/v1/embeddings", json={"model": MODEL, "input": "x"} | change)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    assert says in error["message"]


@pytest.mark.parametrize("path", ["/embed", "/", "/v1"])
async def test_tei_s_body_gets_the_bare_vectors(
    services: Services, settings: Settings, path: str
) -> None:
    async with entry(services, settings) as client:
        response = await client.post(path, json={"inputs": ["a", "b"], "truncate": True})
        unsaid = dict.fromkeys(("truncate", "prompt_name", "dimensions"))
        single = await client.post(path, json={"inputs": "a", **unsaid})
    assert [len(vector) for vector in response.json()] == [2, 2]
    assert [len(vector) for vector in single.json()] == [2]


async def test_tei_s_dimensions_can_only_be_the_model_s(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        own = await client.post("/embed", json={"inputs": "a", "dimensions": 2})
        other = await client.post("/embed", json={"inputs": "a", "dimensions": 1})
    assert own.status_code == 200
    assert (other.status_code, other.json()["error"]["param"]) == (400, "dimensions")


async def test_an_answer_says_which_inputs_were_not_read_to_their_end(
    services: Services, settings: Settings
) -> None:
    services.reads = 3
    texts = ["a tower", "a tower of a lake", "a b c d"]
    async with entry(services, settings) as client:
        cut = await client.post("/v1/embeddings", json={"model": MODEL, "input": texts})
        whole = await client.post("/v1/embeddings", json={"model": MODEL, "input": "a tower"})
        bare = await client.post("/embed", json={"inputs": texts})
    assert cut.headers["x-tiffin-truncated"] == "2"
    assert cut.json()["usage"]["truncated_inputs"] == [1, 2]
    assert "x-tiffin-truncated" not in whole.headers
    assert "truncated_inputs" not in whole.json()["usage"]
    assert bare.headers["x-tiffin-truncated"] == "2"


async def test_vectors_of_another_length_than_one_are_refused(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        response = await client.post("/embed", json={"inputs": "a", "normalize": False})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "normalize")
    assert services.calls == []
