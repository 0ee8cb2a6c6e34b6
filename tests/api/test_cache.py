"""What a client sees of the exact cache, in front of services that count their calls."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.api.test_rag_query import QUESTION
from tests.support.services import Services, entry
from tiffin.config.settings import Settings
from tiffin.core.errors import UpstreamFailed

CHAT: dict[str, Any] = {
    "model": "small",
    "messages": [{"role": "user", "content": "How tall is the tower?"}],
    "temperature": 0,
}
CHATS = "/v1/chat/completions"


async def post(client: httpx.AsyncClient, path: str, body: Any, **headers: str) -> httpx.Response:
    response = await client.post(path, json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response


def text_of(response: httpx.Response) -> str:
    """The text of a streamed chat or question."""
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    return "".join(
        event.get("text") or "".join(c["delta"].get("content") or "" for c in event["choices"])
        for event in events
        if "choices" in event or event.get("object") == "rag.delta"
    )


async def test_the_same_chat_is_answered_once_and_costs_nothing_after(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        first, second = [await post(client, CHATS, CHAT) for _ in range(2)]
    assert services.calls == ["small"]
    assert first.headers["x-tiffin-cache"] == "miss"
    assert second.headers["x-tiffin-cache"] == "exact"
    assert second.headers["x-tiffin-cache-id"] == first.headers["x-tiffin-cache-id"]
    assert (second.headers["age"], second.headers["x-tiffin-tier"]) == ("0", "small")
    assert float(second.headers["x-tiffin-cost-usd"]) == 0
    kept, again = first.json(), second.json()
    assert kept.pop("id") != again.pop("id")
    assert kept["choices"] == again["choices"]


async def test_a_kept_answer_streams_and_a_stream_is_kept(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        streamed = await post(client, CHATS, {**CHAT, "stream": True})
        again = await post(client, CHATS, {**CHAT, "stream": True})
        whole = await post(client, CHATS, CHAT)
    assert services.calls == ["small"]
    assert text_of(streamed) == text_of(again) == "".join(services.answer)
    assert again.headers["x-tiffin-cache"] == whole.headers["x-tiffin-cache"] == "exact"
    assert whole.json()["choices"][0]["message"]["content"] == text_of(streamed)


async def test_a_question_replays_with_its_citations_its_own_id_and_no_cost(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        first = (await post(client, "/rag_query", QUESTION)).json()
        calls = len(services.calls)
        response = await post(client, "/v1/rag", QUESTION)
        streamed = await post(client, "/rag_stream", QUESTION)
    again = response.json()
    assert len(services.calls) == calls
    assert response.headers["x-tiffin-cache"] == "exact"
    assert again["citations"] == first["citations"] != []
    assert again["sources"] == first["sources"]
    assert again["id"] == response.headers["x-request-id"] != first["id"]
    assert (again["cost"]["usd"], again["cost"]["attempts"]) == (0, 0)
    assert text_of(streamed) == first["answer"]
    assert streamed.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": "How tall is the tower"}]},
        {"messages": [{"role": "system", "content": "Be brief."}, CHAT["messages"][0]]},
        {"model": "large"},
        {"max_tokens": 7},
        {"seed": 4},
        {"stop": ["x"]},
        {"top_p": 0.5},
        {"tools": [{"type": "function", "function": {"name": "look_up"}}]},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"n": 2},
    ],
)
async def test_whatever_may_change_the_answer_makes_another_key(
    services: Services, settings: Settings, change: dict[str, Any]
) -> None:
    async with entry(services, settings) as client:
        await post(client, CHATS, CHAT)
        other = await post(client, CHATS, {**CHAT, **change})
    assert other.headers["x-tiffin-cache"] == "miss"


@pytest.mark.parametrize(
    "change",
    [
        {"documents": [*QUESTION["documents"], "The tower was painted in 1899."]},
        {"documents": [*QUESTION["documents"][:3], "Bread is baked in an Oven."]},
        {"query": "how tall is the Tower"},
        {"grounding": "mark"},
        {"model": "large"},
        {"top_n": 1},
        {"max_tokens": 9},
    ],
)
async def test_whatever_may_change_an_answer_from_documents_makes_another_key(
    services: Services, settings: Settings, change: dict[str, Any]
) -> None:
    async with entry(services, settings) as client:
        await post(client, "/rag_query", QUESTION)
        other = await post(client, "/rag_query", {**QUESTION, **change})
    assert other.headers["x-tiffin-cache"] == "miss"


async def test_a_sampled_chat_is_not_even_looked_up_unless_its_client_wants_it(
    services: Services, settings: Settings
) -> None:
    sampled = {**CHAT, "temperature": 0.7}
    async with entry(services, settings) as client:
        for _ in range(2):
            response = await post(client, CHATS, sampled)
            assert "x-tiffin-cache" not in response.headers
        assert len(services.calls) == 2
        wanted = [await post(client, CHATS, {**sampled, "cache": True}) for _ in range(2)]
        seeded = [await post(client, CHATS, {**sampled, "seed": 5}) for _ in range(2)]
    assert [one.headers["x-tiffin-cache"] for one in wanted] == ["miss", "exact"]
    assert [one.headers["x-tiffin-cache"] for one in seeded] == ["miss", "exact"]


async def test_a_client_can_keep_the_cache_out_and_renew_what_it_holds(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        await post(client, CHATS, CHAT)
        for headers, body in (
            ({"cache-control": "no-store"}, CHAT),
            ({}, {**CHAT, "cache": False}),
        ):
            out = await post(client, CHATS, body, **headers)
            assert "x-tiffin-cache" not in out.headers
        services.answer = ("It is ", "330 metres.")
        stale = await post(client, CHATS, CHAT)
        renewed = await post(client, CHATS, CHAT, **{"cache-control": "no-cache"})
        after = await post(client, CHATS, CHAT, **{"cache-control": "max-age=60"})
    assert "324" in stale.text
    assert (renewed.headers["x-tiffin-cache"], "330" in renewed.text) == ("miss", True)
    assert (after.headers["x-tiffin-cache"], "330" in after.text) == ("exact", True)


async def test_an_answer_older_than_its_client_allows_is_made_anew(
    services: Services, settings: Settings
) -> None:
    async with entry(services, settings) as client:
        await post(client, CHATS, CHAT)
        await asyncio.sleep(0.01)
        response = await post(client, CHATS, CHAT, **{"cache-control": "max-age=0"})
    assert response.headers["x-tiffin-cache"] == "miss"


async def test_failed_degraded_and_refused_answers_are_not_kept(
    services: Services, settings: Settings
) -> None:
    refused = {**QUESTION, "query": "who painted it", "grounding": "strict"}
    async with entry(services, settings) as client:
        services.fails = {"small": UpstreamFailed("broken")}
        degraded = await post(client, CHATS, {**CHAT, "model": "auto"})
        assert degraded.headers["x-tiffin-degraded"] == "tier"
        services.fails = {"small": UpstreamFailed("broken"), "large": UpstreamFailed("broken")}
        failed = await client.post(CHATS, json=CHAT)
        assert failed.status_code == 500
        services.fails = {"rerank": UpstreamFailed("broken")}
        await post(client, "/rag_query", QUESTION)
        services.fails = {}
        await post(client, "/rag_query", refused)
        for path, body in (
            (CHATS, {**CHAT, "model": "auto"}),
            (CHATS, CHAT),
            ("/rag_query", QUESTION),
            ("/rag_query", refused),
        ):
            assert (await post(client, path, body)).headers["x-tiffin-cache"] == "miss"


async def test_an_answer_that_breaks_off_is_not_kept(
    services: Services, settings: Settings
) -> None:
    services.breaks_after, services.fails["mid-stream"] = 2, UpstreamFailed("broke")
    async with entry(services, settings) as client:
        broken = await post(client, CHATS, {**CHAT, "stream": True})
        assert "[DONE]" not in broken.text
        services.breaks_after = 10**9
        assert (await post(client, CHATS, CHAT)).headers["x-tiffin-cache"] == "miss"


async def test_a_stampede_on_one_question_asks_the_model_once(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"small": 0.2}
    async with entry(services, settings) as client:
        bodies = [{**CHAT, "stream": bool(number % 2)} for number in range(20)]
        answers = await asyncio.gather(*(post(client, CHATS, body) for body in bodies))
    assert services.calls == ["small"]
    said = [one.headers["x-tiffin-cache"] for one in answers]
    assert sorted(said) == ["exact"] * 19 + ["miss"]
    texts = {
        text_of(one) if body["stream"] else one.json()["choices"][0]["message"]["content"]
        for one, body in zip(answers, bodies, strict=True)
    }
    assert texts == {"".join(services.answer)}


async def test_who_waits_for_another_waits_no_longer_than_its_own_deadline(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"small": 0.5}
    async with entry(services, settings) as client:
        patient = asyncio.create_task(post(client, CHATS, CHAT))
        await asyncio.sleep(0.1)
        hurried = await client.post(CHATS, json=CHAT, headers={"x-request-timeout-ms": "100"})
        assert (hurried.status_code, (await patient).status_code) == (504, 200)


async def test_who_waits_for_one_in_a_hurry_then_asks_on_its_own(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"small": 0.3}
    async with entry(services, settings) as client:
        hurried = asyncio.create_task(
            client.post(CHATS, json=CHAT, headers={"x-request-timeout-ms": "150"})
        )
        await asyncio.sleep(0.05)
        patient = await post(client, CHATS, CHAT)
        assert (await hurried).status_code == 504
    assert patient.headers["x-tiffin-cache"] == "miss"
    assert services.calls == ["small", "small"]


async def test_the_answer_goes_on_for_the_others_when_the_first_client_leaves(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"small": 0.3}
    async with entry(services, settings) as client:
        first = asyncio.create_task(client.post(CHATS, json=CHAT))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(post(client, CHATS, CHAT))
        await asyncio.sleep(0.05)
        first.cancel()
        assert (await second).json()["choices"][0]["finish_reason"] == "stop"
    assert services.calls == ["small"]


async def test_a_cache_that_is_switched_off_says_nothing(
    services: Services, settings: Settings
) -> None:
    off = settings.model_copy(update={"cache": settings.cache.model_copy(update={"exact": False})})
    async with entry(services, off) as client:
        for _ in range(2):
            assert "x-tiffin-cache" not in (await post(client, CHATS, CHAT)).headers
    assert len(services.calls) == 2


async def test_an_answer_made_anew_says_if_the_encoders_had_nothing_left_to_read(
    services: Services, settings: Settings
) -> None:
    services.alike = services.keeps = True
    anew = {"cache-control": "no-cache"}
    async with entry(services, settings) as client:
        said = [
            await client.post(
                "/rag_query", json={**QUESTION, "model": "small", **changes}, headers=headers
            )
            for changes, headers in (({}, {}), ({}, anew), ({"temperature": 0.9}, {}), ({}, {}))
        ]
    layers = [response.headers.get("x-tiffin-cache") for response in said]
    assert layers == ["miss", "retrieval", "retrieval", "exact"]
    assert [("x-tiffin-cache-id" in one.headers, "age" in one.headers) for one in said[1:3]] == [
        (True, False),
        (False, False),
    ]
    assert services.calls.count("small") == 3
