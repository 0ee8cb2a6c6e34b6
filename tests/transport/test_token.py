"""Between services over TCP: a call without the internal token is refused before it is read."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

import numpy as np
import pytest
import uvicorn

from tests.support.stack import free_port
from tiffin.clients import EmbeddingClient
from tiffin.core import errors
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.messages import Array, Embeddings, EmbedRequest, ServiceHealth
from tiffin.transport.server import RpcApp

TOKEN = "a token of the operator's"  # noqa: S105


@asynccontextmanager
async def over_tcp(app: RpcApp) -> AsyncGenerator[str, None]:
    port = free_port()
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # noqa: SLF001  serve() would take the signals
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize(
    ("servers", "sent", "refusal"),
    [
        (TOKEN, TOKEN, None),
        (TOKEN, None, errors.Unauthenticated),
        (TOKEN, "another token of somebody", errors.Forbidden),
        (None, None, errors.Forbidden),
        (None, TOKEN, errors.Forbidden),
    ],
)
async def test_over_tcp_a_call_needs_the_internal_token(
    servers: str | None, sent: str | None, refusal: type[errors.TiffinError] | None
) -> None:
    calls = 0

    async def embed(_: EmbedRequest, __: RequestContext) -> Embeddings:
        nonlocal calls
        calls += 1
        return Embeddings(Array.of(np.zeros((1, 2), np.float32)), tokens=1)

    app = RpcApp("Embedding", max_body_bytes=1 << 20, max_in_flight=8, token=servers)
    app.unary("embed", EmbedRequest, embed)
    async with over_tcp(app) as url:
        client = EmbeddingClient("Embedding", url, sent)
        with pytest.raises(refusal) if refusal else nullcontext():
            await client.embed(["text"], RequestContext(Deadline.after(5)))
        with pytest.raises(refusal) if refusal else nullcontext():
            await client.health(ServiceHealth, 5)
        await client.close()
    assert calls == (0 if refusal else 1)
