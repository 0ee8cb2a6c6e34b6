"""What tests of corpora share: stand-ins whose vectors can be stored, documents, and waiting."""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import numpy as np
import openai

from tests.support.services import Services, entry
from tiffin.config.settings import Settings
from tiffin.core.context import RequestContext
from tiffin.core.messages import Array, Embeddings, EmbedRequest

WIDTH = 64

HANDBOOK = """# Handbook

## Refunds

Unused tickets are refunded within 14 days of the purchase.

## Opening hours

The shop is open from nine to five.
"""
TOWER = "The tower in Paris is 324 metres tall. It was finished in 1889."


class Hashed(Services):
    """Vectors that count words by their hash, so that they mean the same in every call."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.embedded: list[list[str | list[int]]] = []

    async def embed(self, request: EmbedRequest, _: RequestContext) -> Embeddings:
        self.embedded.append(list(request.texts))
        await self._called("embed")
        return hashed(request)


def hashed(request: EmbedRequest) -> Embeddings:
    """Vectors that count words by their hash."""
    rows = np.zeros((len(request.texts), WIDTH), np.float32)
    for row, text in zip(rows, request.texts, strict=True):
        for word in str(text).lower().replace(".", " ").replace("?", " ").split():
            row[zlib.crc32(word.encode()) % WIDTH] += 1
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return Embeddings(Array.of(rows), tokens=len(rows))


def asking(services: Services, key: str = "none") -> openai.AsyncOpenAI:
    """OpenAI's client over an `entry` in front of these services."""
    transport = httpx2.AsyncHTTPTransport(uds=services.socket)
    http = httpx2.AsyncClient(transport=transport)
    return openai.AsyncOpenAI(
        base_url="http://tiffin/v1", api_key=key, http_client=http, max_retries=0
    )


async def ingested(client: openai.AsyncOpenAI, store: str, *, limit_s: float = 30) -> Any:
    """The vector store once nothing waits in it."""
    async with asyncio.timeout(limit_s):
        while True:
            shown = await client.vector_stores.retrieve(store)
            if not shown.file_counts.in_progress:
                return shown
            await asyncio.sleep(0.05)


async def filled(client: openai.AsyncOpenAI, name: str, documents: dict[str, str]) -> Any:
    """A vector store of these documents, by their names, once they can be found."""
    ids = []
    for file, text in documents.items():
        sent = await client.files.create(file=(file, text.encode()), purpose="user_data")
        ids.append(sent.id)
    store = await client.vector_stores.create(name=name, file_ids=ids)
    return await ingested(client, store.id)


@asynccontextmanager
async def corpora(settings: Settings) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    """OpenAI's client of an entry service in front of stand-ins."""
    services = Hashed()
    async with entry(services, settings), asking(services) as client:
        yield client
