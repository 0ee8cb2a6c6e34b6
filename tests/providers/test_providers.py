"""The real SDKs against providers that behave, and providers that do not."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest

from models.values import (
    ChatMessage,
    Finished,
    GenerateRequest,
    Image,
    TextDelta,
    TokenEvent,
    Tool,
    ToolCall,
    ToolCallDelta,
)
from tests.support.providers import TEXT, FakeProvider, Step, fake_provider
from tests.support.stack import free_port
from tiffin.config.routing import ProviderSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import (
    UNSUPPORTED_PARAMETER,
    ContextExceeded,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    RateLimited,
    TiffinError,
    Unavailable,
    UpstreamFailed,
)
from tiffin.providers.base import Provider
from tiffin.providers.connect import connect_providers

PROVIDERS = ("openai", "openai-compatible", "anthropic", "google")
HELLO = GenerateRequest(messages=[ChatMessage("user", "How tall is the tower?")], max_tokens=50)
HEIGHT = Tool("height", "How tall a thing is.", {"type": "object", "properties": {"of": {}}})

each_provider = pytest.mark.parametrize("kind", PROVIDERS)


@asynccontextmanager
async def connected(
    kind: str, url: str, capabilities: tuple[str, ...] = ("tools", "json_schema", "vision")
) -> AsyncGenerator[Provider, None]:
    settings = ProviderSettings.model_validate(
        {
            "provider": kind,
            "model": "big",
            "base_url": url,
            "key_env": "A_KEY",
            "capabilities": capabilities,
            "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
        }
    )
    provider = connect_providers({"api": settings})["api"]
    try:
        yield provider
    finally:
        await provider.close()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-secret")


async def answer(
    kind: str, fake: FakeProvider, request: GenerateRequest = HELLO, seconds: float = 5
) -> list[TokenEvent]:
    async with connected(kind, fake.url) as provider:
        context = RequestContext(Deadline.after(seconds))
        return [event async for event in provider.generate(request, context)]


def finished(events: list[TokenEvent]) -> Finished:
    (last,) = (event for event in events if isinstance(event, Finished))
    return last


@each_provider
async def test_an_answer_comes_as_text_reason_and_counts(kind: str) -> None:
    async with fake_provider() as fake:
        events = await answer(kind, fake)
    assert [event.text for event in events if isinstance(event, TextDelta)] == list(TEXT)
    last = finished(events)
    assert (last.reason, last.usage.prompt_tokens, last.usage.completion_tokens) == ("stop", 100, 3)
    assert last.usage.cached_tokens == 40
    assert any("sk-secret" in value for value in fake.headers[0].values())


@pytest.mark.parametrize("kind", ["openai", "openai-compatible"])
async def test_only_openai_itself_is_told_which_prompts_begin_alike(kind: str) -> None:
    request = msgspec.structs.replace(HELLO, prompt_cache_key="manual")
    async with fake_provider() as fake:
        await answer(kind, fake, request)
    assert fake.requests[0].get("prompt_cache_key") == ("manual" if kind == "openai" else None)


@each_provider
async def test_a_tool_call_crosses_both_ways(kind: str) -> None:
    turns = [
        ChatMessage("user", "How tall?"),
        ChatMessage("assistant", "", [ToolCall("call_1", "height", '{"of": "tree"}')]),
        ChatMessage("tool", "20 m", tool_call_id="call_1"),
    ]
    request = GenerateRequest(messages=turns, tools=[HEIGHT], tool_choice="height")
    async with fake_provider(Step(tool=True)) as fake:
        events = await answer(kind, fake, request)
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert (deltas[0].name, {delta.index for delta in deltas}) == ("height", {0})
    assert deltas[0].id
    assert "".join(delta.arguments for delta in deltas) == '{"of": "tower"}'
    assert finished(events).reason == "tool_calls"
    sent = str(fake.requests[0])
    assert all(part in sent for part in ("height", "tree", "20 m"))


ONE_STRICT_CALL = {
    "openai": ("'strict': True", "'parallel_tool_calls': False"),
    "anthropic": ("'strict': True", "'disable_parallel_tool_use': True"),
    "google": ("'VALIDATED'",),
}


@each_provider
async def test_strict_tools_and_one_call_at_most_are_asked_for(kind: str) -> None:
    for strict in (True, False):
        tools = [msgspec.structs.replace(HEIGHT, strict=strict)]
        request = msgspec.structs.replace(HELLO, tools=tools, parallel_tool_calls=not strict)
        async with fake_provider(Step(tool=True)) as fake:
            await answer(kind, fake, request)
        sent = str(fake.requests[0])
        words = ONE_STRICT_CALL[kind.removesuffix("-compatible")]
        assert {word in sent for word in words} == {strict}


CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
PIXEL = "iVBORw0KGgo="
SEEN: dict[str, Any] = {
    "openai": [
        {"type": "text", "text": "This"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "text", "text": "or that?"},
    ],
    "anthropic": [
        {"type": "text", "text": "This"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "text", "text": "or that?"},
    ],
    "google": [
        {"text": "This"},
        {"inlineData": {"mime_type": "image/png", "data": PIXEL}},  # Google reads either spelling
        {"text": "or that?"},
    ],
}
SEEN["openai"][1]["image_url"]["detail"] = "auto"


def looking(*parts: str | Image) -> GenerateRequest:
    return GenerateRequest(messages=[ChatMessage("user", "This or that?", parts=list(parts))])


@each_provider
async def test_an_image_stands_where_it_stood_in_the_providers_own_words(kind: str) -> None:
    async with fake_provider() as fake:
        events = await answer(kind, fake, looking("This", Image(PIXEL, "image/png"), "or that?"))
    assert finished(events).reason == "stop"
    body = fake.requests[0]
    turn = body["contents"][0]["parts"] if kind == "google" else body["messages"][0]["content"]
    assert turn == SEEN[kind.removesuffix("-compatible")]


async def test_an_images_address_is_passed_on_where_the_provider_fetches_it() -> None:
    address = Image("https://example.org/a.png", detail="auto")
    async with fake_provider() as fake:
        await answer("openai", fake, looking(address))
        await answer("anthropic", fake, looking(address))
        with pytest.raises(InvalidRequest, match="send a data: URL"):
            await answer("google", fake, looking(address))
    shown = [request["messages"][0]["content"][0] for request in fake.requests]
    assert shown[0]["image_url"]["url"] == shown[1]["source"]["url"] == address.data


async def test_what_a_provider_cannot_see_is_left_to_another_tier() -> None:
    close = looking(Image(PIXEL, "image/png", "high"))
    async with fake_provider() as fake:
        for kind in ("anthropic", "google"):
            with pytest.raises(InvalidRequest, match="treats all images alike") as raised:
                await answer(kind, fake, close)
            assert raised.value.code == UNSUPPORTED_PARAMETER
        async with connected("openai", fake.url, ("tools",)) as blind:
            with pytest.raises(InvalidRequest, match="cannot read images"):
                await anext(blind.generate(close, RequestContext(Deadline.after(5))))
    assert fake.requests == []


async def test_anthropic_is_shown_what_to_cache_and_bills_what_it_wrote() -> None:
    turns = [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Hello"),
        ChatMessage("assistant", "Hello."),
        ChatMessage("user", "How tall?"),
    ]
    async with fake_provider() as fake:
        events = await answer("anthropic", fake, GenerateRequest(messages=turns, tools=[HEIGHT]))
        await answer("anthropic", fake)
    marked, plain = fake.requests
    marks = [marked["system"][0], marked["tools"][0], marked["messages"][-1]["content"][0]]
    assert [mark["cache_control"] for mark in marks] == [{"type": "ephemeral"}] * 3
    assert "cache_control" not in str(plain), "a single question is read once only"
    assert finished(events).usage.cache_write_tokens == 10


@each_provider
async def test_a_json_schema_is_passed_on(kind: str) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"metres": {"type": "number"}}}
    async with fake_provider() as fake:
        await answer(kind, fake, GenerateRequest(messages=HELLO.messages, json_schema=schema))
    assert "metres" in str(fake.requests[0])


async def test_openai_holds_to_a_schema_only_where_it_is_told_to() -> None:
    for strict in (True, False):
        request = msgspec.structs.replace(HELLO, json_schema=CITY, strict_schema=strict)
        async with fake_provider() as fake:
            await answer("openai", fake, request)
        sent = fake.requests[0]["response_format"]["json_schema"]
        assert sent == {"name": "answer", "schema": CITY} | ({"strict": True} if strict else {})


@each_provider
@pytest.mark.parametrize(
    ("step", "error", "retry_after_s"),
    [
        (Step(429, {"retry-after": "7"}), RateLimited, 7),
        (Step(429), RateLimited, None),
        (Step(500), UpstreamFailed, None),
        (Step(503, {"retry-after": "2"}), Overloaded, 2),
        (Step(401), UpstreamFailed, None),
        (Step(400, message="no such field"), InvalidRequest, None),
        (Step(400, message="maximum context length is 10"), ContextExceeded, None),
    ],
)
async def test_a_refusal_keeps_its_meaning_and_is_tried_once(
    kind: str, step: Step, error: type[TiffinError], retry_after_s: int | None
) -> None:
    async with fake_provider(step) as fake:
        with pytest.raises(error) as raised:
            await answer(kind, fake)
    assert type(raised.value) is error
    assert raised.value.retry_after_s == retry_after_s
    assert len(fake.requests) == 1, "the SDK must not retry on its own"
    assert "secret" not in raised.value.message


@each_provider
async def test_nobody_listening_is_unavailable(kind: str) -> None:
    with pytest.raises(Unavailable, match="not reachable"):
        await answer(kind, FakeProvider(url=f"http://127.0.0.1:{free_port()}"))


@each_provider
async def test_a_provider_that_hangs_before_its_headers_meets_the_deadline(kind: str) -> None:
    began = time.monotonic()
    async with fake_provider(Step(fault="hang")) as fake:
        with pytest.raises(DeadlineExceeded):
            await answer(kind, fake, seconds=0.3)
    assert time.monotonic() - began < 5


@each_provider
async def test_a_stream_that_goes_silent_meets_the_deadline(kind: str) -> None:
    async with fake_provider(Step(fault="half-open")) as fake:
        with pytest.raises(DeadlineExceeded):
            await answer(kind, fake, seconds=0.5)


@each_provider
async def test_a_slow_drip_is_an_answer_as_long_as_time_is_left(kind: str) -> None:
    async with fake_provider(Step(drip_s=0.02)) as fake:
        assert finished(await answer(kind, fake)).reason == "stop"


@each_provider
async def test_a_connection_that_is_cut_is_a_typed_error(kind: str) -> None:
    async with fake_provider(Step(fault="cut")) as fake:
        with pytest.raises(UpstreamFailed, match="broke off"):
            await answer(kind, fake)


@each_provider
async def test_a_malformed_event_is_a_typed_error(kind: str) -> None:
    async with fake_provider(Step(fault="malformed")) as fake:
        with pytest.raises(UpstreamFailed):
            await answer(kind, fake)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_an_error_in_the_stream_is_a_typed_error(kind: str) -> None:
    async with fake_provider(Step(fault="mid-error")) as fake:
        with pytest.raises((UpstreamFailed, Overloaded)):
            await answer(kind, fake)


@each_provider
async def test_a_caller_that_leaves_closes_the_connection(kind: str) -> None:
    async with fake_provider(Step(drip_s=0.02)) as fake, connected(kind, fake.url) as provider:
        context = RequestContext(Deadline.after(5))
        async with aclosing(provider.generate(HELLO, context)) as events:
            assert isinstance(await anext(events), TextDelta)


async def test_what_a_provider_has_no_word_for_is_refused_by_name() -> None:
    async with fake_provider() as fake:
        for field in ("presence_penalty", "logprobs", "top_p"):
            request = msgspec.structs.replace(HELLO, **{field: 2})
            with pytest.raises(InvalidRequest, match=field):
                await answer("anthropic", fake, request)
    assert fake.requests == []
