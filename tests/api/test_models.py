"""`/v1/models` names everything that a client may write into `model`."""

from tests.support.services import Services, entry
from tiffin.config.settings import Settings


async def test_models_tiers_and_virtual_models_are_listed(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        body = (await client.get("/v1/models")).json()
        one = await client.get("/v1/models/auto-fast")
        none = await client.get("/v1/models/gpt-9")
        named = await client.get("/v1/models/meta-llama/Llama-4")
        slash = await client.get("/v1/models/")
    ids = [model["id"] for model in body["data"]]
    assert ids[:5] == ["auto", "auto-fast", "auto-quality", "small", "large"]
    assert {"model-small", "all-minilm-l6-v2", "ms-marco-minilm-l-12-v2"} <= set(ids)
    assert {model["object"] for model in body["data"]} == {"model"}
    assert one.json()["id"] == "auto-fast"
    error = none.json()["error"]
    assert (none.status_code, error["code"]) == (404, "model_not_found")
    assert "meta-llama/Llama-4" in named.json()["error"]["message"], "names may hold a slash"
    assert slash.json() == body


async def test_a_question_may_be_asked_under_v1(services: Services, settings: Settings) -> None:
    asked = {"query": "how tall?", "documents": ["The tower is 324 metres tall."]}
    async with entry(services, settings) as client:
        body = (await client.post("/v1/rag", json=asked)).json()
    assert body["object"] == "rag.answer"
