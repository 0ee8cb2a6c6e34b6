"""A stream that has long nothing to say: its head goes out, and comments keep proxies awake."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from models.values import TextDelta, TokenEvent
from tests.support.services import Services, entry
from tiffin.api import sse
from tiffin.config.settings import Settings
from tiffin.core.errors import UpstreamFailed

STREAMS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "how tall?"}]},
    "/v1/completions": {"prompt": "how tall?"},
    "/v1/responses": {"input": "how tall?"},
    "/rag_query": {"query": "how tall?", "documents": ["The tower is 324 metres tall."]},
}
each_stream = pytest.mark.parametrize("path", STREAMS)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEAD_AFTER_S", 0.05)
    monkeypatch.setattr(sse, "QUIET_S", 0.04)


def asked(path: str) -> dict[str, Any]:
    return {"model": "small", "stream": True, **STREAMS[path]}


async def read(client: httpx.AsyncClient, path: str) -> tuple[int, str]:
    """The status, which comes while the model still reads, and all that follows it."""
    async with client.stream("POST", path, json=asked(path)) as response:
        return response.status_code, "".join([text async for text in response.aiter_text()])


@each_stream
async def test_a_long_prompt_is_read_under_comments(
    services: Services, settings: Settings, path: str
) -> None:
    services.delays_s = {"small": 0.6}
    async with entry(services, settings) as client:
        status, text = await read(client, path)
    assert status == 200
    before, _, _ = text.partition("data: ")
    assert before.count(sse.COMMENT) >= 3
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert all(json.loads(line) for line in data if line != "[DONE]")
    assert "metres" in text


@each_stream
async def test_a_model_that_stalls_amid_its_answer_stays_heard(
    services: Services, settings: Settings, path: str
) -> None:
    services.delays_s = {"token": 0.1}
    async with entry(services, settings) as client:
        _, text = await read(client, path)
    assert text.count(sse.COMMENT) >= 6
    assert "metres" in text


@each_stream
async def test_what_fails_late_is_a_frame_and_what_fails_early_a_status(
    services: Services, settings: Settings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.fails = {"small": UpstreamFailed("it broke")}
    services.fails |= {"large": UpstreamFailed("it broke")}
    async with entry(services, settings) as client:
        with monkeypatch.context() as patient:
            patient.setattr(sse, "HEAD_AFTER_S", 10)
            early = await client.post(path, json=asked(path))
        services.delays_s = {"small": 0.2, "large": 0.2}
        status, text = await read(client, path)
    if path == "/rag_query":
        return  # it answers with quotes instead
    assert (early.status_code, early.json()["error"]["message"]) == (500, "it broke")
    assert status == 200
    last = json.loads(text.rpartition("data: ")[2])
    assert last["error"]["type"] == "server_error"
    assert "[DONE]" not in text


async def test_a_client_that_leaves_in_the_silence_stops_the_model(
    services: Services, settings: Settings
) -> None:
    stopped = asyncio.Event()

    async def read_for_ever(*_: object) -> AsyncGenerator[TokenEvent, None]:
        try:
            await asyncio.sleep(60)
            yield TextDelta("The")
        finally:
            stopped.set()

    services.generate_of = {"small": read_for_ever}
    path = "/v1/chat/completions"
    async with entry(services, settings) as client:
        async with client.stream("POST", path, json=asked(path)) as response:
            assert (await anext(response.aiter_text())).startswith(":")
        await asyncio.wait_for(stopped.wait(), 5)
