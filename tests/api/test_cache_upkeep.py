"""What a tenant can see and remove of what is kept for it."""

from pathlib import Path
from typing import Any

import httpx

from tests.api.test_cache import CHAT, CHATS, post
from tests.api.test_rag_query import DOCUMENTS, QUESTION
from tests.api.test_semantic_cache import ASKED, semantic, services  # noqa: F401  fixtures
from tests.support.services import Services, entry
from tiffin.config.settings import Settings
from tiffin.traffic.key_file import KeyFile


async def layer(client: httpx.AsyncClient, **headers: str) -> str:
    return (await post(client, CHATS, CHAT, **headers)).headers["x-tiffin-cache"]


async def test_an_answer_can_be_seen_and_removed_by_its_id(settings: Settings) -> None:
    async with entry(Services(), settings) as client:
        name = (await post(client, CHATS, CHAT)).headers["x-tiffin-cache-id"]
        seen = (await client.get(f"/v1/cache/{name}")).json()
        assert (seen["id"], seen["kind"], seen["tier"]) == (name, "chat", "small")
        assert (await client.get("/v1/cache")).json()["exact"] == 1
        assert (await client.delete(f"/v1/cache/{name}")).json() == {"removed": 1}
        assert (await client.get(f"/v1/cache/{name}")).status_code == 404
        assert await layer(client) == "miss"


async def test_a_wrong_answer_that_is_reported_is_not_given_again(settings: Settings) -> None:
    async with entry(Services(), settings) as client:
        await layer(client)
        hit = await post(client, CHATS, CHAT)
        report = {"id": hit.headers["x-tiffin-cache-id"]}
        assert (await post(client, "/v1/cache/feedback", report)).json() == {"removed": 1}
        assert await layer(client) == "miss"
        unknown = await client.post("/v1/cache/feedback", json={"id": "x"})
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "id")


async def test_a_wrong_answer_to_other_words_is_removed_alone(
    services: Services,  # noqa: F811
    semantic: Settings,  # noqa: F811
) -> None:
    async with entry(services, semantic) as client:
        await post(client, "/rag_query", ASKED)
        await post(client, "/rag_query", {**ASKED, "query": "when was the tower built"})
        again = {**ASKED, "query": "please tell me how tall this tower is"}
        hit = await post(client, "/rag_query", again)
        assert hit.headers["x-tiffin-cache"] == "semantic"
        assert (await client.get("/v1/cache")).json()["semantic"] == 2
        await post(client, "/v1/cache/feedback", {"id": hit.headers["x-tiffin-cache-id"]})
        assert (await client.get("/v1/cache")).json()["semantic"] == 1
        assert (await post(client, "/rag_query", again)).headers["x-tiffin-cache"] == "miss"


async def test_a_scope_with_a_wrong_answer_must_be_surer_of_its_others(
    services: Services,  # noqa: F811
    semantic: Settings,  # noqa: F811
) -> None:
    async def said(query: str, **changes: Any) -> httpx.Headers:
        return (await post(client, "/rag_query", {**ASKED, "query": query, **changes})).headers

    other = {"documents": [*DOCUMENTS, "Rye grows in the north."]}
    async with entry(services, semantic) as client:
        for query in ("how tall is the tower", "when was the tower built"):
            await said(query)
        await said("how tall is the tower", **other)
        wrong = await said("please tell me how tall this tower is")
        await post(client, "/v1/cache/feedback", {"id": wrong["x-tiffin-cache-id"]})
        assert (await client.get("/v1/cache")).json()["reports"] == 1
        again = await said("tell me when this tower was built, please")
        assert again["x-tiffin-cache"] == "miss", "it is held to half of what it was"
        elsewhere = await said("please tell me how tall this tower is", **other)
        assert elsewhere["x-tiffin-cache"] == "semantic", "other documents are another scope"
        await client.delete("/v1/cache")
        assert (await client.get("/v1/cache")).json()["reports"] == 0


async def test_answers_of_a_tier_or_a_document_can_be_removed(settings: Settings) -> None:
    titled = [{"text": DOCUMENTS[1], "id": "towers"}, *DOCUMENTS[2:]]
    async with entry(Services(), settings) as client:
        await layer(client)
        await post(client, "/rag_query", {**QUESTION, "documents": titled})
        await post(client, "/rag_query", QUESTION)
        removed = await client.delete("/v1/cache", params={"document": "towers"})
        assert removed.json() == {"removed": 1}
        assert (await client.delete("/v1/cache", params={"tier": "large"})).json()["removed"] == 0
        assert (await client.delete("/v1/cache", params={"tier": "small"})).json()["removed"] == 2


async def test_a_tenant_sees_and_clears_only_its_own(settings: Settings, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    ours, theirs = (
        {"authorization": f"Bearer {file.create(name, tenant=name)}"} for name in ("a", "b")
    )
    access = settings.access.model_copy(update={"keys_file": tmp_path / "keys.json"})
    async with entry(Services(), settings.model_copy(update={"access": access})) as client:
        assert await layer(client, **ours) == "miss"
        assert await layer(client, **theirs) == "miss", "the same words of another tenant"
        name = (await post(client, CHATS, CHAT, **ours)).headers["x-tiffin-cache-id"]
        assert (await client.get(f"/v1/cache/{name}", headers=theirs)).status_code == 404
        assert (await client.delete("/v1/cache", headers=theirs)).json() == {"removed": 1}
        assert await layer(client, **ours) == "exact"
        assert await layer(client, **theirs) == "miss"


async def test_what_names_nothing_removes_nothing(settings: Settings) -> None:
    async with entry(Services(), settings) as client:
        for query in ("corpus=", "prefix=", "colour=red"):
            response = await client.delete(f"/v1/cache?{query}")
            assert response.status_code == 400
            assert response.json()["error"]["param"] == query.partition("=")[0]
