"""An answer that reaches its deadline, on each route that generates: what is written is kept."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from models.values import TextDelta
from tests.api.test_rag_query import QUESTION
from tests.api.test_safety import chat
from tests.api.test_stream_limits import ROUTES, limited
from tests.support.services import Services, entry
from tests.support.soon import SOON_S
from tiffin.config.settings import Settings
from tiffin.core.errors import UpstreamFailed

TURNS = [{"role": "user", "content": "Tell me all about it."}]
BODIES: dict[str, dict[str, Any]] = {**ROUTES, "/v1/messages": {"messages": TURNS}}
CUT = {
    "/v1/chat/completions": '"finish_reason":"length"',
    "/v1/completions": '"finish_reason":"length"',
    "/v1/responses": '"incomplete_details":{"reason":"max_output_tokens"}',
    "/v1/messages": '"stop_reason":"max_tokens"',
}
each_route = pytest.mark.parametrize("path", BODIES)


async def ask_once(
    client: httpx.AsyncClient, path: str, ms: int = 600, **fields: Any
) -> httpx.Response:
    body = {"model": "small", "max_tokens": 4096, **BODIES[path], **fields}
    if path == "/v1/responses":
        del body["max_tokens"]
    async with asyncio.timeout(ms / 1000 + SOON_S):
        return await client.post(path, json=body, headers={"x-request-timeout-ms": str(ms)})


async def ask(client: httpx.AsyncClient, path: str, ms: int = 600, **fields: Any) -> httpx.Response:
    """Ask; if the machine is too busy for a first word within that time, once more with more."""
    response = await ask_once(client, path, ms, **fields)
    if response.status_code == 504:
        response = await ask_once(client, path, 5 * ms, **fields)
    return response


def endless(services: Services) -> None:
    services.answer = ("word ",) * 1000
    services.delays_s = {"token": 0.05}


@each_route
async def test_a_whole_answer_that_is_late_is_what_was_written(
    services: Services, settings: Settings, path: str
) -> None:
    endless(services)
    async with entry(services, settings) as client:
        response = await ask(client, path)
    assert response.status_code == 200
    assert CUT[path] in response.text
    assert response.text.count("word") > 3
    assert response.headers["x-tiffin-degraded"] == "deadline"
    assert float(response.headers["x-tiffin-cost-usd"]) == response.json()["usage"]["cost"]
    assert services.stopped.is_set(), "the engine writes on for no one"


@each_route
async def test_a_stream_that_is_late_ends_as_a_whole_one_and_tells_its_cost(
    services: Services, settings: Settings, path: str
) -> None:
    endless(services)
    with_usage: dict[str, Any] = (
        {"stream_options": {"include_usage": True}} if "completions" in path else {}
    )
    async with entry(services, settings) as client:
        response = await ask(client, path, stream=True, **with_usage)
    assert CUT[path].replace(":", ": ") in response.text or CUT[path] in response.text
    assert '"error":{' not in response.text
    told = re.findall("^: (x-tiffin-.*)$", response.text, re.MULTILINE)
    assert told == ["x-tiffin-degraded: deadline"], "the headers have gone: it is a comment"
    assert len(re.findall(r'"cost": ?0\.0', response.text)) == 1


async def test_each_of_several_answers_is_cut(services: Services, settings: Settings) -> None:
    endless(services)
    async with entry(services, settings) as client:
        response = await ask(client, "/v1/chat/completions", n=3)
    reasons = [choice["finish_reason"] for choice in response.json()["choices"]]
    assert reasons == ["length"] * 3


async def test_an_answer_of_which_nothing_is_written_is_still_a_504(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"small": 30, "large": 30}
    async with entry(services, settings) as client:
        response = await ask_once(client, "/v1/chat/completions")
    assert response.status_code == 504


async def test_what_a_cascade_has_written_by_its_deadline_is_the_answer(
    services: Services, settings: Settings
) -> None:
    endless(services)
    services.events = [TextDelta("word ")] * 1000
    policy = settings.routing.policies["auto"].model_copy(update={"escalate_below": 0.5})
    policies = {**settings.routing.policies, "auto": policy}
    routing = settings.routing.model_copy(update={"policies": policies})
    cascade = settings.model_copy(update={"routing": routing})
    async with entry(services, cascade) as client:
        response = await ask(client, "/v1/chat/completions", model="auto")
    assert response.json()["choices"][0]["finish_reason"] == "length"


async def test_what_a_safety_policy_holds_back_is_checked_before_it_is_cut(
    services: Services, settings: Settings
) -> None:
    endless(services)
    async with entry(services, chat(settings, output={"toxicity": "block"})) as client:
        response = await ask(client, "/v1/chat/completions")
    assert response.json()["choices"][0]["message"]["content"].count("word") > 3
    assert response.headers["x-tiffin-checks"] == "output:toxicity=clean"


async def test_an_answer_that_was_cut_is_not_given_again(
    services: Services, settings: Settings
) -> None:
    endless(services)
    async with entry(services, settings) as client:
        answers = [
            await ask(client, "/v1/chat/completions", ms=400, temperature=0) for _ in range(2)
        ]
    assert [answer.headers["x-tiffin-cache"] for answer in answers] == ["miss", "miss"]


async def test_a_stream_that_passes_its_longest_time_ends_the_same_way(
    services: Services, settings: Settings
) -> None:
    endless(services)
    async with entry(services, limited(settings, total_ms=300)) as client:
        body = {"model": "small", "messages": TURNS, "stream": True}
        response = await client.post("/v1/chat/completions", json=body)
    assert CUT["/v1/chat/completions"] in response.text
    assert response.text.endswith("data: [DONE]\n\n")


async def test_the_tier_in_the_header_is_the_one_in_the_body(
    services: Services, settings: Settings
) -> None:
    services.fails = {tier: UpstreamFailed("broken") for tier in ("small", "large")}
    async with entry(services, settings) as client:
        response = await client.post("/rag_query", json=QUESTION)
        stream = await client.post("/rag_query", json={**QUESTION, "stream": True})
    assert response.headers["x-tiffin-tier"] == response.json()["route"]["tier"] == "quote"
    first = json.loads(stream.text.split("\n", 1)[0].removeprefix("data: "))
    assert stream.headers["x-tiffin-tier"] == first["route"]["tier"] == "quote"
