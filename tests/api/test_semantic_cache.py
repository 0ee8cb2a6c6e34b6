"""A question in other words, in front of services that count their calls."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.test_rag_query import DOCUMENTS
from tests.support.services import Services, entry
from tiffin.config.settings import Settings
from tiffin.core.context import RequestContext
from tiffin.core.errors import Unavailable
from tiffin.core.messages import RerankRequest, RerankScores
from tiffin.grounding.same import RULES_FROM

ASKED = {
    "query": "how tall is the tower",
    "documents": DOCUMENTS,
    "grounding": "strict",
    "model": "small",
}


@pytest.fixture
def semantic(settings: Settings) -> Settings:
    """The stand-in's reranker has no head, so rules decide, which wants a bound that they keep."""
    update = {"semantic": True, "wrong_hits": RULES_FROM}
    return settings.model_copy(update={"cache": settings.cache.model_copy(update=update)})


@pytest.fixture
def services() -> Services:
    """Embeds each text alike, so that the wording and the evidence alone decide."""
    services = Services()
    services.alike = True
    return services


async def ask(client: httpx.AsyncClient, query: str, **changes: Any) -> httpx.Response:
    response = await client.post("/rag_query", json={**ASKED, "query": query, **changes})
    assert response.status_code == 200, response.text
    return response


def written(services: Services) -> int:
    return services.calls.count("small")


async def test_a_question_in_other_words_gets_the_kept_answer_with_its_citations(
    services: Services, semantic: Settings
) -> None:
    async with entry(services, semantic) as client:
        first = await ask(client, "how tall is the tower")
        again = await ask(client, "please tell me how tall the tower is")
    assert written(services) == 1
    assert first.headers["x-tiffin-cache"] == "miss"
    assert again.headers["x-tiffin-cache"] == "semantic"
    assert float(again.headers["x-tiffin-cache-similarity"]) > 0.9
    assert float(again.headers["x-tiffin-cost-usd"]) == 0
    assert again.json()["answer"] == first.json()["answer"]
    assert again.json()["citations"] == first.json()["citations"] != []
    assert again.json()["cost"]["usd"] == 0


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("how tall is the tower not", "negation"),
        ("when was the tower built", "evidence"),
        ("how tall is the tower in 1889", "number"),
        ("how tall is the Eiffel tower", "name"),
        ("who is the tower tall", "asked"),
        ("how tall is the bread tower", "scope"),
    ],
)
async def test_a_question_that_asks_for_something_else_is_written_anew(
    services: Services, semantic: Settings, query: str, reason: str
) -> None:
    async with entry(services, semantic) as client:
        await ask(client, "how tall is the tower")
        other = await ask(client, query, false_refusals=None)
    assert other.headers["x-tiffin-cache"] == "miss", reason


async def test_without_a_head_the_default_bound_serves_only_repeats(
    services: Services, semantic: Settings
) -> None:
    cache = semantic.cache.model_copy(update={"wrong_hits": 0.01})
    async with entry(services, semantic.model_copy(update={"cache": cache})) as client:
        await ask(client, "how tall is the tower")
        repeat = await ask(client, "please tell me how tall is the tower")
        other = await ask(client, "please tell me how tall this tower is")
    assert repeat.headers["x-tiffin-cache"] == "semantic"
    assert other.headers["x-tiffin-cache"] == "miss"


async def test_other_documents_are_another_scope(services: Services, semantic: Settings) -> None:
    async with entry(services, semantic) as client:
        await ask(client, "how tall is the tower")
        changed = [*DOCUMENTS[:3], "Bread is baked in a hot oven."]
        other = await ask(client, "tell me how tall the tower is", documents=changed)
    assert (other.headers["x-tiffin-cache"], written(services)) == ("miss", 2)


async def test_a_recalled_answer_is_not_kept_as_if_it_had_been_written(
    services: Services, semantic: Settings
) -> None:
    async with entry(services, semantic) as client:
        await ask(client, "how tall is the tower")
        said = [
            (await ask(client, "tell me how tall the tower is")).headers["x-tiffin-cache"]
            for _ in range(2)
        ]
    assert said == ["semantic", "semantic"]


async def test_a_client_keeps_the_semantic_cache_out_too(
    services: Services, semantic: Settings
) -> None:
    async with entry(services, semantic) as client:
        await ask(client, "how tall is the tower")
        out = await ask(client, "tell me how tall the tower is", cache=False)
    assert "x-tiffin-cache" not in out.headers
    assert written(services) == 2


async def test_it_is_off_unless_it_is_switched_on(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        await ask(client, "how tall is the tower")
        await ask(client, "tell me how tall the tower is")
    assert written(services) == 2


async def test_what_was_being_written_during_a_clear_is_not_kept_after_it(
    services: Services, semantic: Settings
) -> None:
    services.delays_s = {"small": 0.3}
    async with entry(services, semantic) as client:
        writing = asyncio.create_task(ask(client, "how tall is the tower"))
        while not written(services):
            await asyncio.sleep(0.01)
        await client.delete("/v1/cache")
        await writing
        after = [
            (await ask(client, query)).headers["x-tiffin-cache"]
            for query in ("tell me how tall the tower is", "how tall is the tower")
        ]
    assert after == ["miss", "semantic"], "neither cache kept what began before"


class WithoutPairs(Services):
    """Its reranker is away whenever two questions are to be compared."""

    async def score(self, request: RerankRequest, context: RequestContext) -> RerankScores:
        if isinstance(request.query, list):
            raise Unavailable("away")
        return await super().score(request, context)


async def test_a_comparison_that_fails_is_a_miss_and_no_worse_answer(semantic: Settings) -> None:
    services = WithoutPairs()
    services.alike = True
    async with entry(services, semantic) as client:
        await ask(client, "how tall is the tower")
        again = await ask(client, "please tell me how tall the tower is")
    assert (again.headers["x-tiffin-cache"], written(services)) == ("miss", 2)
    assert again.json()["degraded"] == []


async def test_two_questions_are_compared_without_an_answer_being_written(
    services: Services, semantic: Settings
) -> None:
    body = {"kept": "how tall is the tower", "documents": DOCUMENTS}
    async with entry(services, semantic) as client:
        said = [
            (await client.post("/v1/cache/compare", json={**body, "new": new})).json()
            for new in ("tell me how tall the tower is", "how tall is the tower not")
        ]
        unknown = await client.post(
            "/v1/cache/compare", json={"kept": "a", "new": "b", "corpus": "none"}
        )
    assert said[0]["differences"] == []
    assert said[0]["probability"] is None, "the stand-in's reranker has no such head"
    assert said[1]["differences"] == ["negation"]
    assert said[1]["probability"] is None
    assert unknown.status_code == 404
    assert written(services) == 0


@pytest.mark.parametrize(("again", "reports"), [(DOCUMENTS[1], 0), (DOCUMENTS[2], 1)])
async def test_an_answer_that_would_be_given_is_checked_against_a_new_one(
    services: Services, semantic: Settings, again: str, reports: int
) -> None:
    cache = semantic.cache.model_copy(update={"checked_share": 1.0})
    async with entry(services, semantic.model_copy(update={"cache": cache})) as client:
        await ask(client, "how tall is the tower", grounding="mark")
        services.answer = (again,)
        checked = await ask(client, "please tell me how tall the tower is", grounding="mark")
        state = (await client.get("/v1/cache")).json()
    assert (checked.headers["x-tiffin-cache"], checked.json()["answer"]) == ("miss", again)
    assert (state["reports"], state["semantic"]) == (reports, 2 - reports)
