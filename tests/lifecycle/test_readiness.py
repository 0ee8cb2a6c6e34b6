"""How the entry service watches the services behind it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.support.serving import served
from tiffin.clients import EmbeddingClient
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.messages import Embeddings, EmbedRequest, ServiceHealth
from tiffin.lifecycle.drain import Drain
from tiffin.lifecycle.readiness import Readiness
from tiffin.transport.server import RpcApp


class Watched:
    """A service that counts its probes, hangs in its calls, and falls silent when told to."""

    def __init__(self) -> None:
        self.probes = 0
        self.silent = False
        self.over = asyncio.Event()
        self.requests = Drain()
        self.rpc = RpcApp("Embedding", max_body_bytes=1 << 20, max_in_flight=8)
        self.rpc.health(self.health)
        self.rpc.unary("embed", EmbedRequest, self.embed)

    async def health(self) -> ServiceHealth:
        self.probes += 1
        if self.silent:
            await self.over.wait()
        return ServiceHealth(ready=True)

    async def embed(self, _: EmbedRequest, __: RequestContext) -> Embeddings:
        await self.over.wait()
        raise AssertionError

    async def probed_in(self, seconds: float) -> int:
        before = self.probes
        await asyncio.sleep(seconds)
        return self.probes - before

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[tuple[Readiness, EmbeddingClient]]:
        async with served(self.rpc) as url:
            client = EmbeddingClient("Embedding", url)
            readiness = Readiness({"Embedding": client}, self.requests)
            readiness.start()
            while readiness.state() != "ready":
                await asyncio.sleep(0.01)
            yield readiness, client
            self.over.set()
            await readiness.stop()
            await client.close()


async def call(client: EmbeddingClient) -> BaseException | None:
    """What came of a call that hangs."""
    context = RequestContext(Deadline.after(30))
    (outcome,) = await asyncio.gather(client.embed(["a"], context), return_exceptions=True)
    return outcome if isinstance(outcome, BaseException) else None


@pytest.mark.slow
async def test_services_are_looked_at_more_often_while_there_are_requests() -> None:
    service = Watched()

    async def requests_over_at_once() -> None:
        while True:
            with service.requests.work():
                pass
            await asyncio.sleep(0.1)

    async with service.watch():
        idle = await service.probed_in(2)
        with service.requests.work():
            one_long = await service.probed_in(2)
        asking = asyncio.create_task(requests_over_at_once())
        many_short = await service.probed_in(2)
        asking.cancel()
    assert 1 <= idle <= min(one_long, many_short) / 2


@pytest.mark.slow
async def test_a_silent_service_is_noticed_by_who_calls_it_and_by_who_does_not() -> None:
    service = Watched()
    async with service.watch() as (readiness, client):
        service.silent = True
        began = time.monotonic()
        error = await call(client)
        assert "does not answer" in str(error)
        assert time.monotonic() - began < 10, "and not at the call's deadline"
        assert readiness.state() == "down"
        service.silent = False
        while readiness.state() != "ready":
            await asyncio.sleep(0.05)
        service.silent = True
        while readiness.state() != "down":
            await asyncio.sleep(0.05)
