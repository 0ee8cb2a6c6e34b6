"""The real stack with a tier that somebody else serves: routed, priced, and survived."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.providers import Step, fake_provider
from tests.support.stack import WRITING, running_stack
from tiffin.cli.costs import sums

pytestmark = [pytest.mark.e2e, pytest.mark.models, pytest.mark.slow]


async def test_a_hard_question_goes_to_the_upstream_and_an_easy_one_stays_home(
    tmp_path: Path, corpus: dict[str, Any]
) -> None:
    async with fake_provider(Step(), Step(), Step(), Step(500)) as fake:
        provider = {
            "provider": "openai-compatible",
            "model": "big",
            "base_url": fake.url,
            "price": {"input_usd_per_mtok": 10, "output_usd_per_mtok": 30},
            "capabilities": ["tools", "json_schema", "vision"],
        }
        ledger = tmp_path / "ledger.sqlite3"
        environment = {
            "TIFFIN_PROVIDERS": json.dumps({"big": provider}),
            "TIFFIN_ROUTING__LEDGER": str(ledger),
            **WRITING,
        }
        await asyncio.to_thread(_ask_all, tmp_path, environment, corpus)
        assert len(fake.requests) == 5
        shown = [str(request).count("image_url") for request in fake.requests]
        assert shown == [0, 2, 0, 0, 0], "a part and its field, in the one request that has it"
    rows = sums(ledger, ["tier"], "")
    assert {row[0]: row[1] for row in rows} == {"big": 3, "small": 2}
    connection = sqlite3.connect(ledger)
    failed = connection.execute("SELECT tier FROM attempts WHERE outcome = 'server_error'")
    assert failed.fetchall() == [("big",)] * 2
    connection.close()


def _ask_all(tmp_path: Path, environment: dict[str, str], corpus: dict[str, Any]) -> None:
    with (
        running_stack(tmp_path, **environment) as stack,
        httpx.Client(base_url=stack.url, timeout=60, headers={"x-tiffin-debug": "1"}) as client,
    ):

        def ask(**fields: Any) -> httpx.Response:
            body = {"query": "How deep is Lake Baikal?", "documents": corpus["passages"][:8]}
            return client.post("/rag_query", json={**body, **fields})

        named = ask(model="big")
        assert (named.status_code, named.headers["x-tiffin-tier"]) == (200, "big"), named.text
        assert float(named.headers["x-tiffin-cost-usd"]) == pytest.approx(100e-5 + 3 * 30e-6)
        image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
        turn = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}
        body = {"model": "auto", "messages": [turn]}
        seen = client.post("/v1/chat/completions", json=body)
        assert (seen.status_code, seen.headers["x-tiffin-tier"]) == (200, "big"), seen.text
        blind = client.post("/v1/chat/completions", json={**body, "model": "small"})
        assert (blind.status_code, blind.json()["error"]["param"]) == (
            400,
            "messages[0].content[1]",
        )
        hard = ask(query="Prove that 12 * 7 = 84, and compare both proofs step by step.")
        assert hard.headers["x-tiffin-tier"] == "big", hard.headers["x-tiffin-decision"]
        timings = hard.json()["timings"]
        beside = timings["search_ms"] + timings["rerank_ms"]
        assert timings["route_ms"] < beside, "routing is over before the passages are ranked"
        rescued = ask(model="auto-quality")
        assert rescued.json()["degraded"] == ["tier"]
        assert rescued.headers["x-tiffin-tier"] == "small"
        # The provider's first token recently came sooner, so it is asked first, and fails again.
        decision = json.loads(ask(model="auto-fast").headers["x-tiffin-decision"])
        assert decision["complexity"]["by"] != "length: there is no embedding"
        assert decision["policy"] == "auto-fast"
        assert {other["tier"] for other in decision["alternatives"]} == {"small", "big"}
