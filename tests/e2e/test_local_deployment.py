"""Replicas behind haproxy: under load, a service scales, loses a replica and is rolled out."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from bench.simulation import BURSTY, TEXTS, measure
from tests.support.asking import ask
from tests.support.deployment import TOKEN, Deployment, running_deployment
from tiffin.clients import EmbeddingClient
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import TiffinError

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(600)]

CALLERS = 8


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Generator[Deployment, None, None]:
    # With one thread for each replica, another replica is another core, as on a cluster.
    folder = tmp_path_factory.mktemp("local")
    with running_deployment(folder, TIFFIN_EMBEDDING__THREADS="1") as running:
        yield running


@dataclass
class Load:
    """Calls of the Embedding service without a pause: when each one ended, and which failed."""

    ended: list[float] = field(default_factory=list)
    failed: list[TiffinError] = field(default_factory=list)

    async def rate(self, seconds: float) -> float:
        """Calls a second from now on."""
        before = len(self.ended)
        began = time.monotonic()
        await asyncio.sleep(seconds)
        return (len(self.ended) - before) / (time.monotonic() - began)


@asynccontextmanager
async def load_on(url: str) -> AsyncGenerator[Load, None]:
    load = Load()
    client = EmbeddingClient("Embedding", url, TOKEN)

    async def call_on_and_on() -> None:
        while True:
            try:
                rows, _ = await client.embed(TEXTS, RequestContext(Deadline.after(60)))
                assert rows.shape == (len(TEXTS), 384)
                load.ended.append(time.monotonic())
            except TiffinError as error:
                load.failed.append(error)

    callers = [asyncio.create_task(call_on_and_on()) for _ in range(CALLERS)]
    try:
        yield load
    finally:
        for caller in callers:
            caller.cancel()
        ends = await asyncio.gather(*callers, return_exceptions=True)
        await client.close()
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


def work_by_place(deployment: Deployment) -> dict[int, int]:
    """Requests that haproxy has given to each place of the Embedding service."""
    rows = deployment.balancer.statistics()
    return {place: int(row["stot"]) for (name, place), row in rows.items() if name == "Embedding"}


def test_a_question_is_answered_through_the_load_balancers(
    deployment: Deployment, corpus: dict[str, Any]
) -> None:
    answer = ask(deployment.url, corpus)
    assert "1,642" in answer["answer"]
    assert answer["degraded"] == []


async def test_embedding_scales_survives_a_kill_and_is_rolled_out_under_load(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    address = deployment.addresses["Embedding"]
    async with load_on(address) as load:
        await load.rate(2)
        one = await load.rate(8)
        await asyncio.to_thread(deployment.scale, "Embedding", 3)
        before = work_by_place(deployment)
        three = await load.rate(8)
        after = work_by_place(deployment)
        took = sorted(after[place] - before[place] for place in after)[-3:]

        victim = deployment.replicas("Embedding")[0]
        os.killpg(victim.pid, signal.SIGKILL)
        killed = await load.rate(4)
        await until(lambda: victim.pid not in ready(deployment) and len(ready(deployment)) == 3)

        old = ready(deployment)
        await asyncio.to_thread(
            deployment.rollout, "Embedding", TIFFIN_EMBEDDING__MAX_BATCH_TOKENS="2048"
        )
        assert not old & ready(deployment)
        rolled = await load.rate(4)
        others = [r.revision for n in ("Reranker", "RAG") for r in deployment.replicas(n)]
    with capsys.disabled():
        print(
            f"\ncalls/s: 1 replica {one:.1f}, 3 replicas {three:.1f}, after a kill {killed:.1f},"
            f" rolled out {rolled:.1f}; shares of three {took}; {len(load.ended)} calls"
        )
    assert load.failed == []
    assert others == [1, 1]
    # Each of the three does its share. How far the sum rises depends on the cores that are free.
    assert min(took) > 0.5 * max(took), took


async def test_scaling_to_one_again_loses_nothing(deployment: Deployment) -> None:
    async with load_on(deployment.addresses["Embedding"]) as load:
        await asyncio.to_thread(deployment.scale, "Embedding", 1)
        await load.rate(2)
    assert load.failed == []
    assert len(deployment.replicas("Embedding")) == 1


MAX_ERROR_PERCENT = 40
"""A model in which a batch costs as much as its requests one by one was off by 54. The goal is 20
(`python -m bench simulation`), which a machine that others use may miss by chance."""

ATTEMPTS = 3

UNDISTURBED = 0.7
"""The least share of a core with which the encoder's latencies say anything."""


async def test_the_simulation_predicts_the_latency_of_a_real_replica(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs the benchmark's load `bursty`, again if other programs disturbed it."""
    undisturbed = []
    for attempt in range(ATTEMPTS):
        run = await measure(deployment, BURSTY, seed=attempt)
        p50, p95 = run.errors()
        with capsys.disabled():
            print(
                f"\n{run.requests} requests, {run.share:.2f} of a core: error of p50 {p50:+.0f} %,"
                f" of p95 {p95:+.0f} %"
            )
        if run.share >= UNDISTURBED:
            undisturbed.append(abs(p50))
            if abs(p50) < MAX_ERROR_PERCENT:
                return
    if not undisturbed:
        pytest.skip("other programs took the encoder's core in every attempt")
    assert min(undisturbed) < MAX_ERROR_PERCENT


async def test_without_the_token_the_load_balancer_lets_no_one_in(deployment: Deployment) -> None:
    address = deployment.addresses["Embedding"]
    for token, status in (("", 401), ("wrong token", 403)):
        headers = {"content-type": "application/msgpack"} | (
            {"x-tiffin-token": token} if token else {}
        )
        async with httpx.AsyncClient() as client:
            response = await client.post(
                f"{address}/internal/v1/embed", content=b"\x80", headers=headers
            )
        assert response.status_code == status


def ready(deployment: Deployment) -> set[int]:
    return {replica.pid for replica in deployment.replicas("Embedding")}


async def until(condition: Any, limit_s: float = 120) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.2)
