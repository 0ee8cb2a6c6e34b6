"""What an operator sees of a real stack under load, while some of its parts fail.

Its dashboard and alerts in Debian's Prometheus, its log as JSON, and its traces at a receiver. With
OPERATIONS_SHOTS=FOLDER the load lasts three minutes, and docs/images/dashboard.png is drawn there.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.otlp import Receiver, receiving
from tests.support.panels import shoot
from tests.support.prometheus import JOB, Prometheus, program, running_prometheus
from tests.support.stack import ROOT, Stack, free_port, running_stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.nightly,
    pytest.mark.e2e,
    pytest.mark.skipif(
        program() is None, reason="no prometheus on the path: apt-get install prometheus"
    ),
]

BOARD = json.loads((ROOT / "deploy/grafana/tiffin.json").read_text())
RULES = ROOT / "deploy/alerts/tiffin.yaml"
ALERTS = [
    rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in BOARD["panels"]
    for target in panel.get("targets", [])
]
SHOTS = os.environ.get("OPERATIONS_SHOTS")
LOAD_S = 180 if SHOTS else 0
SAID = "XYZZY"
PATIENT = {"x-request-timeout-ms": "60000"}
TOWER = ["The tower is 330 metres tall.", "It was built in 1889.", "Its lifts are yellow."]


@dataclass(frozen=True)
class Operated:
    """What runs, once the load is over."""

    stack: Stack
    prometheus: Prometheus
    receiver: Receiver

    def lines(self) -> list[dict[str, Any]]:
        """The log's lines, without those about weights, which are written before it is set up."""
        lines = self.stack.log.read_text().splitlines()
        return [json.loads(line) for line in lines if not line.endswith(": present")]


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Generator[Operated, None, None]:
    folder = tmp_path_factory.mktemp("operated")
    remote = {
        "provider": "openai-compatible",
        "model": "remote-model",
        "base_url": f"http://127.0.0.1:{free_port()}/v1",
        "price": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0},
    }
    with receiving() as receiver:
        environment = {
            "TIFFIN_PROVIDERS": json.dumps({"remote": remote}),
            "TIFFIN_TIERS__SMALL__PRICE__GPU_USD_PER_HOUR": "1",
            "TIFFIN_LOGS__FORMAT": "json",
            "TIFFIN_TRACING__ENDPOINT": receiver.url,
            "TIFFIN_CACHE__EXACT": "true",
            "TIFFIN_ROUTING__LEDGER": str(folder / "ledger.sqlite3"),
            "TIFFIN_ROUTING__FAILOVER__BREAKER_OPEN_MS": "600000",
        }
        with running_stack(folder, **environment) as stack:
            target = stack.url.removeprefix("http://")
            with running_prometheus(folder, target, RULES) as prometheus:
                began = time.time()
                asyncio.run(load(stack))
                prometheus.wait_for("tiffin:failed:ratio5m")
                if SHOTS:
                    shoot(BOARD, prometheus.url, JOB, began, Path(SHOTS) / "dashboard.png")
                yield Operated(stack, prometheus, receiver)


async def load(stack: Stack) -> None:
    """All that the dashboard shows: answers of every kind, mistakes, failures, one cancelled."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=90, headers=PATIENT) as client:
        await ingest(client)
        began, rounds = time.monotonic(), 0
        while rounds < 2 or time.monotonic() - began < LOAD_S:  # a counter's rate needs two values
            rounds += 1
            await ask(client)
            if rounds % 10 in {1, 2}:
                stack.worker("Reranker").kill()
            await question(client, f"How tall is the tower, {SAID}?", cache=False)
            await asyncio.sleep(2)


async def ingest(client: httpx.AsyncClient) -> None:
    files = {"file": ("tower.txt", "\n\n".join(TOWER).encode(), "text/plain")}
    sent = await client.post("/v1/files", files=files, data={"purpose": "assistants"})
    body = {"name": "tower", "file_ids": [sent.json()["id"]]}
    store = (await client.post("/v1/vector_stores", json=body)).json()["id"]
    async with asyncio.timeout(60):
        while (await client.get(f"/v1/vector_stores/{store}")).json()["status"] != "completed":
            await asyncio.sleep(0.2)


async def question(client: httpx.AsyncClient, query: str, **fields: object) -> None:
    body = {"query": query, "documents": TOWER, "timeout_ms": 60_000, **fields}
    await client.post("/rag_query", json=body)


async def ask(client: httpx.AsyncClient) -> None:
    chat = {"messages": [{"role": "user", "content": f"Say {SAID}."}], "max_tokens": 16}
    for model in ("small", "auto", *["remote"] * 6, "no-such-model"):
        await client.post("/v1/chat/completions", json={**chat, "model": model})
    for query in ("How tall is the tower?", "Who was the king of Siam?", "When was it built?"):
        await question(client, query)
        await question(client, query, model="small", grounding="mark", max_tokens=40)
        await question(client, query, model="small", grounding="strict", max_tokens=40)
    await question(client, "How tall is the tower?", documents=[], corpus="tower")
    await client.post("/embed", json={"inputs": SAID})
    await client.get("/made/up")
    with suppress(httpx.ReadTimeout):
        long = {**chat, "model": "small", "max_tokens": 400}
        await client.post("/v1/chat/completions", json=long, timeout=0.3)


def filled(expression: str) -> str:
    """A query with Grafana's variables filled in."""
    return expression.replace("$job", JOB).replace("$__rate_interval", "5m")


@pytest.mark.parametrize("expression", QUERIES)
def test_every_query_of_the_dashboard_has_data(operated: Operated, expression: str) -> None:
    operated.prometheus.wait_for(filled(expression))


def test_every_rule_is_evaluated_and_every_alert_has_something_to_compare(
    operated: Operated,
) -> None:
    rules = operated.prometheus.rules()
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    for rule in rules:
        if rule["type"] == "recording":
            operated.prometheus.wait_for(rule["name"])
    for alert in ALERTS:
        compared = re.fullmatch(r"(.+) [<>] [\d.]+", alert["expr"].strip())
        assert compared is not None, f"{alert['alert']} is to compare one series with one number"
        operated.prometheus.wait_for(compared[1])


def test_the_tier_that_is_away_raises_an_alert(operated: Operated) -> None:
    operated.prometheus.wait_for('ALERTS{alertname="TiffinBreakerIsOpen", tier="remote"}')
    alerts = [rule for rule in operated.prometheus.rules() if rule["type"] == "alerting"]
    states = {alert["name"]: alert["state"] for alert in alerts}
    assert states["TiffinBreakerIsOpen"] in {"pending", "firing"}
    assert states["TiffinLedgerLosesRows"] == "inactive"


def test_every_process_writes_json_that_names_requests_and_quotes_none(operated: Operated) -> None:
    lines = operated.lines()
    assert {"RAG:1", "SmallLLM:1", "supervisor"} <= {line["process"] for line in lines}
    requests = [line for line in lines if line["logger"] == "tiffin.access"]
    assert all(line["request_id"] for line in requests)
    assert {200, 404, 499} <= {line["status"] for line in requests}
    assert any(line.get("tier") == "quote" for line in requests)
    warned = {line["message"] for line in lines if line["level"] == "warning"}
    assert any(message.startswith("the circuit breaker of a tier is open: ") for message in warned)
    assert any(message.startswith("a tier failed: ") for message in warned)
    assert SAID not in operated.stack.log.read_text()


def test_one_trace_runs_through_all_services(operated: Operated) -> None:
    receiver = operated.receiver
    everywhere = {"RAG", "Embedding", "Reranker", "SmallLLM"}

    def services_of(trace: str) -> set[str]:
        return {span.service for span in receiver.spans if span.trace == trace}

    def asked() -> list[str]:
        return [span.trace for span in receiver.spans if span.name == "POST /rag_query"]

    receiver.wait(lambda _: any(everywhere <= services_of(trace) for trace in asked()))
    trace = next(trace for trace in asked() if everywhere <= services_of(trace))
    spans = [span for span in receiver.spans if span.trace == trace]
    ids = {span.id for span in spans}
    assert [span.name for span in spans if span.parent not in ids] == ["POST /rag_query"]
    assert SAID not in str(receiver.spans)
