"""The line that each request leaves in the log, and what it counts in metrics."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from starlette.types import Message, Receive, Scope, Send

from tests.api.test_rag_query import QUESTION
from tests.support.services import Services, entry
from tiffin.api.errors import error_response
from tiffin.api.middleware.access_log import REFUSALS_LOGGED, AccessLog
from tiffin.config.settings import Settings
from tiffin.core.errors import DeadlineExceeded, Overloaded, UpstreamFailed
from tiffin.telemetry import requests
from tiffin.traffic.key_file import KeyFile
from tiffin.transport.disconnect import CancelOnDisconnect

CHAT = {"model": "small", "messages": [{"role": "user", "content": "A SECRET QUESTION"}]}


@pytest.fixture(autouse=True)
def written(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "tiffin")
    return caplog


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of each request's line, and its level."""
    return [
        {"level": record.levelname, **getattr(record, "fields", {})}
        for record in caplog.records
        if record.name == "tiffin.access"
    ]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_chat_leaves_one_line_that_says_who_answered_and_not_what(
    services: Services, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with entry(services, settings) as client:
        sent = {"x-request-id": "mine", "authorization": "Bearer A-SECRET-KEY"}
        await client.post("/v1/chat/completions?key=A-SECRET-KEY", json=CHAT, headers=sent)
    (line,) = lines(caplog)
    shown = {name: value for name, value in line.items() if name not in {"ms", "first_token_ms"}}
    assert shown == {
        "level": "INFO",
        "request_id": "mine",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "tenant": "default",
        "tier": "small",
        "model": "model-small",
        "prompt_tokens": 7,
        "completion_tokens": len(services.answer),
        "cost_usd": 0.0,
    }
    assert "SECRET" not in caplog.text


async def test_a_question_says_what_it_was_given_without_and_what_the_cache_did(
    services: Services, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    services.fails = {"rerank": UpstreamFailed("broken")}
    async with entry(services, settings) as client:
        for _ in range(2):
            await client.post("/rag_query", json=QUESTION)
            services.fails = {}
        await client.post("/rag_query", json=QUESTION)
    first, _, third = lines(caplog)
    assert "rerank" in first["degraded"]
    assert (first["cache"], third["cache"]) == ("miss", "exact")
    assert first["encoded_tokens"] > 0
    assert "prompt_tokens" not in third


async def test_a_failure_of_ours_is_a_warning_with_its_reason(
    services: Services, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    services.fails = {"small": UpstreamFailed("the engine is gone")}
    before = counted("tiffin_errors_total", code="server_error")
    async with entry(services, settings) as client:
        response = await client.post("/v1/chat/completions", json=CHAT)
    (line,) = lines(caplog)
    assert (line["level"], line["status"]) == ("WARNING", response.status_code)
    assert line["error"] == response.json()["error"]["message"]
    assert "a tier failed" in caplog.text
    assert counted("tiffin_errors_total", code="server_error") > before


async def test_a_stream_that_fails_after_its_status_is_a_warning_too(
    services: Services, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    services.fails, services.breaks_after = {"mid-stream": UpstreamFailed("broken")}, 2
    before = counted("tiffin_tenant_requests_total", tenant="default", outcome="failed")
    async with entry(services, settings) as client:
        await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    (line,) = lines(caplog)
    assert (line["level"], line["status"], line["error"]) == ("WARNING", 200, "broken")
    after = counted("tiffin_tenant_requests_total", tenant="default", outcome="failed")
    assert after == before + 1


async def test_a_mistake_of_the_client_s_is_told_by_its_code_alone(
    services: Services, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with entry(services, settings) as client:
        await client.post("/v1/chat/completions", json={**CHAT, "model": "SECRET"})
        await client.post("/made/up", json={})
    unknown, made_up = lines(caplog)
    assert (unknown["level"], unknown["error"]) == ("INFO", "model_not_found")
    assert "SECRET" not in caplog.text
    assert (made_up["path"], made_up["status"]) == ("/made/up", 404)
    assert counted("tiffin_requests_total", route="other", status="404")
    assert not counted("tiffin_requests_total", route="/made/up", status="404")


async def test_one_refused_at_the_door_has_its_id_and_route_all_the_same(
    services: Services, settings: Settings, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    KeyFile(keys).create("app")
    access = settings.access.model_copy(update={"keys_file": keys})
    guarded = settings.model_copy(update={"access": access})
    async with entry(services, guarded) as client:
        response = await client.post("/v1/chat/completions", json=CHAT)
    (line,) = lines(caplog)
    assert (line["request_id"], line["status"]) == (response.headers["x-request-id"], 401)
    assert counted("tiffin_requests_total", route="/v1/chat/completions", status="401")


async def test_one_whose_client_left_counts_as_cancelled(
    services: Services, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    services.delays_s = {"token": 5}
    async with entry(services, settings) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/chat/completions", json=CHAT, timeout=0.2)
        async with asyncio.timeout(5):
            while not lines(caplog):
                await asyncio.sleep(0.01)
    (line,) = lines(caplog)
    assert (line["status"], line["level"]) == (499, "INFO")


async def test_probes_and_files_of_the_page_leave_none(
    services: Services, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with entry(services, settings) as client:
        await client.get("/readyz")
        await client.get("/playground/app.js")
        await client.get("/playground/missing.js")
    (line,) = lines(caplog)
    assert line["path"] == "/playground/missing.js"


async def asked(app: Any, *, leaves: bool = False) -> list[Message]:
    """What an app sends for one request, whose client may leave at once."""
    sent: list[Message] = []
    inbox: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if inbox:
            return inbox.pop(0)
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    await app(scope, receive, send)
    return sent


async def test_refusals_of_an_overload_fill_few_lines_and_are_all_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def full(scope: Scope, receive: Receive, send: Send) -> None:
        await error_response(Overloaded("full"))(scope, receive, send)

    log = AccessLog(full, paths={"/x"})
    before = counted("tiffin_requests_total", route="/x", status="503")
    for _ in range(200):
        await asked(log)
    assert REFUSALS_LOGGED <= len(lines(caplog)) < 100
    assert counted("tiffin_requests_total", route="/x", status="503") == before + 200


async def test_a_timeout_of_ours_is_no_504_if_the_caller_has_gone_by_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both had the same patience: the caller left in the moment in which its deadline passed."""

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await error_response(DeadlineExceeded("too late"))(scope, receive, send)

    before = counted("tiffin_requests_total", route="/x", status="499")
    log = AccessLog(CancelOnDisconnect(late), paths={"/x"})
    assert (await asked(log, leaves=True))[0]["status"] == 499
    assert (await asked(log))[0]["status"] == 504
    gone, there = lines(caplog)
    assert (gone["status"], gone["level"]) == (499, "INFO")
    assert (there["status"], there["level"]) == (504, "WARNING")
    assert counted("tiffin_requests_total", route="/x", status="499") == before + 1


def test_tenants_beyond_the_first_share_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "TENANTS_SHOWN", 2)
    monkeypatch.setattr(requests, "_shown", set())
    for tenant in ("first", "second", "third", "fourth", "first"):
        requests.observe(requests.Ended("/t", 200, tenant, None, None, 0.1))
    labels = {"outcome": "ok"}
    assert counted("tiffin_tenant_requests_total", tenant="first", **labels) == 2
    assert counted("tiffin_tenant_requests_total", tenant="third", **labels) == 0
    assert counted("tiffin_tenant_requests_total", tenant=requests.OTHERS, **labels) == 2
