"""A model that stalls, on each OpenAI route: its stream ends in a typed frame.

One that only never ends is cut, and what it wrote is the answer: tests/api/test_deadline.py.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from models.values import TextDelta, ToolCallDelta
from tests.support.providers import Step, fake_provider
from tests.support.services import Services, entry
from tests.support.soon import SOON_S
from tiffin.config.routing import ProviderSettings
from tiffin.config.settings import Settings
from tiffin.providers.connect import connect_providers

PROMPT = "how tall is the tower"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": PROMPT}]}
TOOLS = [{"type": "function", "function": {"name": "height", "parameters": {"type": "object"}}}]
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": PROMPT},
    "/v1/responses": {"input": PROMPT},
}

each_route = pytest.mark.parametrize("path", ROUTES)


def limited(settings: Settings, **limits: int) -> Settings:
    stream = settings.resilience.stream.model_copy(update=limits)
    resilience = settings.resilience.model_copy(update={"stream": stream})
    return settings.model_copy(update={"resilience": resilience})


def last_frame(text: str) -> Any:
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] != "data: [DONE]", "a stream that was cut off must not look whole"
    return json.loads(lines[-1].removeprefix("data: "))


async def stream(client: httpx.AsyncClient, path: str, **fields: Any) -> httpx.Response:
    body = {"model": "small", **ROUTES[path], "stream": True, **fields}
    return await client.post(path, json=body)


@each_route
async def test_a_stream_that_stalls_ends_in_a_typed_frame(
    services: Services, settings: Settings, path: str
) -> None:
    services.answer = ("word ",) * 1000
    services.delays_s = {"token": 30}
    async with entry(services, limited(settings, gap_ms=300)) as client:
        response = await stream(client, path)
    assert response.status_code == 200
    assert last_frame(response.text)["error"]["type"] == "timeout_error"
    assert response.elapsed.total_seconds() < SOON_S
    assert services.stopped.is_set(), "the engine writes on for no one"


@each_route
async def test_a_model_that_does_not_begin_is_a_504_of_its_own_status(
    services: Services, settings: Settings, path: str
) -> None:
    services.delays_s = {"small": 30}
    async with entry(services, limited(settings, first_token_ms=300)) as client:
        response = await stream(client, path)
    assert (response.status_code, response.json()["error"]["type"]) == (504, "timeout_error")
    assert response.elapsed.total_seconds() < SOON_S


async def test_a_model_that_does_not_begin_leaves_time_for_the_next(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"small": 30}
    async with entry(services, limited(settings, first_token_ms=500)) as client:
        chat = await stream(client, "/v1/chat/completions", model="auto")
        rag = await client.post(
            "/rag_query", json={"query": PROMPT, "documents": ["It is 324 m tall."], "stream": True}
        )
    for response in (chat, rag):
        assert response.headers["x-tiffin-tier"] == "large"
        assert "[DONE]" in response.text


async def test_each_of_several_answers_is_limited(services: Services, settings: Settings) -> None:
    services.delays_s = {"token": 30}
    async with entry(services, limited(settings, gap_ms=300)) as client:
        response = await stream(client, "/v1/chat/completions", n=2)
    assert last_frame(response.text)["error"]["type"] == "timeout_error"


async def test_a_whole_answer_has_its_deadline_only(services: Services, settings: Settings) -> None:
    services.delays_s = {"token": 0.1}
    async with entry(services, limited(settings, gap_ms=50, total_ms=200)) as client:
        response = await client.post("/v1/chat/completions", json={"model": "small", **CHAT})
    assert response.status_code == 200


async def test_a_tool_s_call_may_take_longer_to_come(
    services: Services, settings: Settings
) -> None:
    """It comes whole: what is written of it until then is held back."""
    services.events = [TextDelta("Let me see."), ToolCallDelta(0, "{}", "call_1", "height")]
    services.delays_s = {"token": 0.5}
    async with entry(services, limited(settings, gap_ms=200)) as client:
        with_tools = await stream(client, "/v1/chat/completions", tools=TOOLS)
        without = await stream(client, "/v1/chat/completions")
    assert with_tools.text.endswith("data: [DONE]\n\n")
    assert last_frame(without.text)["error"]["type"] == "timeout_error"


@asynccontextmanager
async def upstream_entry(settings: Settings, step: Step) -> AsyncGenerator[httpx.AsyncClient, None]:
    """An entry service whose small tier is a provider that misbehaves."""
    async with fake_provider(step) as fake:
        card = {"provider": "openai-compatible", "model": "big", "base_url": fake.url, "price": {}}
        known = {"small": ProviderSettings.model_validate(card)}
        provider = connect_providers(known)["small"]
        services = Services(tiers=("small",))
        services.generate_of["small"] = provider.generate
        async with entry(services, settings) as client:
            yield client
        await provider.close()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_a_provider_that_stalls_ends_in_a_typed_frame(settings: Settings, path: str) -> None:
    stalls = Step(fault="half-open")
    async with upstream_entry(limited(settings, gap_ms=300), stalls) as client:
        response = await stream(client, path)
    assert "The " in response.text, "what came before the fault has been passed on"
    assert last_frame(response.text)["error"]["type"] == "timeout_error"
    assert response.elapsed.total_seconds() < SOON_S


async def test_a_provider_that_drips_is_cut_and_its_answer_kept(settings: Settings) -> None:
    async with upstream_entry(limited(settings, total_ms=500), Step(drip_s=0.2)) as client:
        response = await stream(client, "/v1/chat/completions")
    assert "The " in response.text
    assert '"finish_reason":"length"' in response.text
    assert response.elapsed.total_seconds() < SOON_S
