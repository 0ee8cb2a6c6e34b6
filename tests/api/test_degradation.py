"""What a question gets when a stage is late or away: less, said in `degraded`; at last a 504."""

import asyncio
from typing import Any

import pytest

from tests.support.services import Services, entry, frames_of
from tests.support.soon import SOON_S
from tiffin.config.settings import Settings
from tiffin.core.errors import Overloaded, Unavailable, UpstreamFailed

DOCUMENTS = [
    "The Danube is a long river.",
    "The tower is 324 metres tall.",
    "The tower was built in 1889.",
    "Bread is baked in an oven.",
]
QUESTION = {"query": "how tall is the tower", "documents": DOCUMENTS}


async def ask(
    services: Services, settings: Settings, timeout_ms: int = 1000, **fields: Any
) -> tuple[int, Any]:
    """Status and body, which come by the deadline or soon after."""
    async with entry(services, settings) as client, asyncio.timeout(timeout_ms / 1000 + SOON_S):
        response = await client.post(
            "/rag_query", json={**QUESTION, "timeout_ms": timeout_ms, **fields}
        )
    return response.status_code, response.json()


async def test_an_embedding_that_is_late_is_replaced_by_the_words_shared(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"embed": 30}
    status, answer = await ask(services, settings)
    assert status == 200, answer
    assert answer["degraded"] == ["embed"]
    assert answer["sources"][0]["document"] == 1


async def test_an_embedding_that_died_costs_no_error(
    services: Services, settings: Settings
) -> None:
    services.fails = {"embed": UpstreamFailed("it broke off")}
    status, answer = await ask(services, settings)
    assert (status, answer["degraded"]) == (200, ["embed"])


async def test_a_reranker_that_is_late_is_done_without(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"rerank": 30}
    status, answer = await ask(services, settings)
    assert (status, answer["degraded"]) == (200, ["rerank"])


async def test_a_router_that_is_late_is_done_without(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"route": 30}
    status, answer = await ask(services, settings)
    assert (status, answer["degraded"]) == (200, ["router"])


async def test_what_is_written_by_the_deadline_is_the_answer(
    services: Services, settings: Settings
) -> None:
    services.answer = ("word ",) * 1000
    services.delays_s = {"token": 0.05}
    status, answer = await ask(services, settings)
    assert status == 200, answer
    assert answer["degraded"] == ["short_answer"]
    assert (answer["finish_reason"], answer["answer"][:5]) == ("length", "word ")
    assert services.stopped.is_set()


async def test_when_no_tier_writes_in_time_the_passages_are_quoted(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"small": 30, "large": 30}
    status, answer = await ask(services, settings)
    assert status == 200, answer
    assert answer["degraded"] == ["generation"]
    assert answer["answer"].startswith("The tower is 324 metres tall.")
    assert answer["route"]["tier"] == "quote"
    assert answer["citations"][0]["source"] == 1


async def test_when_every_tier_is_gone_the_passages_are_quoted(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": Unavailable("gone"), "large": UpstreamFailed("broke")}
    status, answer = await ask(services, settings)
    assert (status, answer["degraded"]) == (200, ["generation"])


async def test_the_probe_names_the_tiers_that_are_left_alone(
    services: Services, settings: Settings
) -> None:
    services.fails = {"large": UpstreamFailed("broke")}
    async with entry(services, settings) as client:
        assert "away" not in (await client.get("/readyz")).json()
        body = {"model": "large", "messages": [{"role": "user", "content": "hi"}]}
        for _ in range(settings.routing.failover.breaker_failures):
            await client.post("/v1/chat/completions", json=body)
        away = (await client.get("/readyz")).json()["away"]
    assert list(away) == ["large"]
    assert 0 < away["large"] <= settings.routing.failover.breaker_open_ms / 1000


async def test_an_overload_is_said_and_not_hidden_behind_quotes(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": Overloaded("full"), "large": Overloaded("full")}
    status, answer = await ask(services, settings)
    assert (status, answer["error"]["type"]) == (503, "overloaded_error")


async def test_a_stream_without_a_tier_quotes_the_passages_too(
    services: Services, settings: Settings
) -> None:
    services.fails = {"small": Unavailable("gone"), "large": Unavailable("gone")}
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json={**QUESTION, "stream": True})
    events = frames_of(response.text)
    first, *deltas, last = events
    assert (first["object"], last["object"]) == ("rag.sources", "rag.answer")
    assert "".join(delta["text"] for delta in deltas) == last["answer"]
    for delta in deltas:
        (citation,) = delta["citations"]
        assert last["answer"][citation["start"] : citation["end"]] == delta["text"].strip()
    assert last["degraded"] == ["generation"]
    assert response.text.endswith("data: [DONE]\n\n")


async def test_past_the_deadline_comes_504_with_the_stages_that_ran(
    services: Services, settings: Settings
) -> None:
    """A tier that the request names has no substitute."""
    services.delays_s = {"small": 30}
    status, body = await ask(services, settings, timeout_ms=1000, model="small")
    assert status == 504
    assert body["error"]["type"] == "timeout_error"
    assert all(stage in body["error"]["message"] for stage in ("embed", "rerank", "generate"))


async def test_a_stream_may_outlive_the_deadline_of_an_answer(
    services: Services, settings: Settings
) -> None:
    short = settings.model_copy(
        update={"rag": settings.rag.model_copy(update={"deadline_ms": 600})}
    )
    services.answer = ("word ",) * 20
    services.delays_s = {"token": 0.05}
    async with entry(services, short) as client:
        response = await client.post("/rag_query", json={**QUESTION, "stream": True})
    assert response.elapsed.total_seconds() > 0.8
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("limit", "delays"), [("gap_ms", {"token": 30}), ("total_ms", {"token": 0.04})]
)
async def test_a_stream_that_stalls_or_never_ends_ends_in_a_typed_frame(
    services: Services, settings: Settings, limit: str, delays: dict[str, float]
) -> None:
    stream = settings.resilience.stream.model_copy(update={limit: 300})
    limited = settings.model_copy(
        update={"resilience": settings.resilience.model_copy(update={"stream": stream})}
    )
    services.answer = ("word ",) * 1000
    services.delays_s = delays
    async with entry(services, limited) as client, asyncio.timeout(SOON_S):
        response = await client.post("/rag_query", json={**QUESTION, "stream": True})
    assert frames_of(response.text)[-1]["error"]["type"] == "timeout_error"
    assert "[DONE]" not in response.text


async def test_a_priority_that_cannot_be_is_refused(services: Services, settings: Settings) -> None:
    async with entry(services, settings) as client:
        response = await client.post(
            "/rag_query", json=QUESTION, headers={"x-tiffin-priority": "urgent"}
        )
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-tiffin-priority"
