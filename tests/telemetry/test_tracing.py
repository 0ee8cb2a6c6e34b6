"""What a receiver of OpenTelemetry's protocol is told of a request, sent by the real exporter."""

import json
import sys
from collections.abc import Generator

import pytest

from tests.api.test_rag_query import QUESTION
from tests.support.otlp import Received, Receiver, receiving
from tests.support.services import Services, entry
from tiffin.config.settings import Settings, SettingsError, load_settings
from tiffin.config.telemetry import TracingSettings
from tiffin.core.errors import UpstreamFailed
from tiffin.telemetry import tracing

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CHAT = {"model": "small", "messages": [{"role": "user", "content": "A SECRET QUESTION"}]}


def traceparent(*, sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{CALLER}-0{int(sampled)}"}


@pytest.fixture
def settings() -> Settings:
    rag = {"deadline_ms": 5000, "prefer": "write", "grounding": "off"}
    return load_settings(profile="laptop", rag=rag, safety={"enabled": False})


@pytest.fixture
def receiver() -> Generator[Receiver, None, None]:
    with receiving() as receiver:
        tracing.start(TracingSettings(endpoint=receiver.url), "Test")
        yield receiver
        tracing.stop()


async def asked(
    settings: Settings, path: str, body: object, services: Services | None = None, **flags: bool
) -> None:
    """Ask once, then send all spans."""
    async with entry(services or Services(), settings) as client:
        await client.post(path, json=body, headers=traceparent(**flags))
    tracing.stop()


async def test_a_question_is_one_trace_with_a_span_for_each_stage_and_its_budget(
    settings: Settings, receiver: Receiver
) -> None:
    await asked(settings, "/rag_query", QUESTION)
    assert {span.trace for span in receiver.spans} == {TRACE}
    request = receiver.named("POST /rag_query")
    assert (request.parent, request.kind) == (CALLER, "SERVER")
    assert request.values["http.response.status_code"] == 200
    stages = ["embed", "search", "rerank", "widen", "evidence", "route", "generate", "cite"]
    for stage in stages:
        span = receiver.named(stage)
        assert span.parent == request.id
        assert span.values["tiffin.stage.most_ms"] >= span.values["tiffin.stage.budget_ms"] >= 0
    attempt = receiver.named("chat model-small")
    assert attempt.parent == receiver.named("generate").id
    assert receiver.named("small.generate").parent == attempt.id
    assert receiver.named("Embedding.embed").parent in {
        receiver.named("embed").id,
        receiver.named("evidence").id,
    }
    assert receiver.named("Router.route").parent == receiver.named("route").id
    assert receiver.named("search").values["gen_ai.operation.name"] == "retrieval"
    assert receiver.named("embed").values["gen_ai.usage.input_tokens"] > 0


async def test_an_attempt_follows_the_conventions_and_says_nothing_of_the_content(
    settings: Settings, receiver: Receiver
) -> None:
    services = Services()
    await asked(settings, "/v1/chat/completions", CHAT, services)
    attempt = receiver.named("chat model-small")
    shown = attempt.values
    assert attempt.kind == "CLIENT"
    assert shown.pop("gen_ai.response.time_to_first_chunk") > 0
    assert shown == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "tiffin",
        "gen_ai.request.model": "model-small",
        "gen_ai.request.stream": False,
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.response.model": "model-small",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": len(services.answer),
        "tiffin.tier": "small",
        "tiffin.attempt": 0,
        "tiffin.outcome": "ok",
        "tiffin.cost_usd": 0.0,
    }
    assert "SECRET" not in str(receiver.spans)


async def test_content_is_sent_if_the_settings_ask_for_it(settings: Settings) -> None:
    services = Services()
    with receiving() as receiver:
        tracing.start(TracingSettings(endpoint=receiver.url, content=True), "Test")
        await asked(settings, "/v1/chat/completions", CHAT, services)
    shown = receiver.named("chat model-small").values
    (read,) = json.loads(shown["gen_ai.input.messages"])
    assert read == {"role": "user", "parts": [{"type": "text", "content": "A SECRET QUESTION"}]}
    (wrote,) = json.loads(shown["gen_ai.output.messages"])
    assert wrote["parts"][0]["content"] == "".join(services.answer)
    assert wrote["finish_reason"] == "stop"


async def test_what_failed_is_marked_and_so_is_the_stage_that_had_a_substitute(
    settings: Settings, receiver: Receiver
) -> None:
    services = Services(fails={"rerank": UpstreamFailed("broken")})
    await asked(settings, "/rag_query", QUESTION, services)
    failed = {span.name: span.values["error.type"] for span in receiver.spans if span.failed}
    assert failed["rerank"] == failed["Reranker.score"] == "server_error"
    assert not receiver.named("POST /rag_query").failed


async def test_a_caller_that_is_not_sampled_is_not_traced(
    settings: Settings, receiver: Receiver
) -> None:
    await asked(settings, "/v1/chat/completions", CHAT, sampled=False)
    assert receiver.spans == []


async def test_a_trace_begins_here_if_the_caller_brings_none(
    settings: Settings, receiver: Receiver
) -> None:
    async with entry(Services(), settings) as client:
        for sent in ("", "00-made-up-01", f"00-{'0' * 32}-{CALLER}-01"):
            await client.post("/v1/chat/completions", json=CHAT, headers={"traceparent": sent})
    tracing.stop()
    requests = [span for span in receiver.spans if span.name == "POST /v1/chat/completions"]
    assert [span.parent for span in requests] == [""] * 3
    assert len({span.trace for span in requests}) == 3
    assert all(_in_one_trace(receiver.spans, span) for span in requests)


def _in_one_trace(spans: list[Received], root: Received) -> bool:
    """Whether the request, its attempt and the service's work have one trace."""
    return len([span for span in spans if span.trace == root.trace]) == 3


def test_without_the_extra_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"tracing.endpoint: .* install tiffin\[tracing\]"):
        tracing.start(TracingSettings(endpoint="http://localhost:4318"), "Test")
