"""Embedding: texts to vectors, batched by tokens; and how many tokens texts have."""

import asyncio

import bentoml

from services import hosting, placing
from services.encoder import Encoder
from services.hosting import settings
from tiffin.core.context import RequestContext
from tiffin.core.messages import Array, CountRequest, Counts, Embeddings, EmbedRequest


@bentoml.service(
    name="Embedding",
    workers=settings.embedding.workers,
    **hosting.inner(cpu="2", memory="1Gi", gpus=settings.embedding.gpus, concurrency=32),
)
class Embedding(Encoder):
    """Embeds queries and passages."""

    rpc = hosting.rpc_app("Embedding", max_in_flight=256)
    section = settings.embedding
    sample = "warm-up"
    bento_model = hosting.bento_model(section.model)
    fetch = placing.fetching(section.model)

    def __init__(self) -> None:
        from models.engines.encoders import embedder

        with placing.encoder("Embedding"):
            super().__init__(embedder)
        self.rpc.unary("embed", EmbedRequest, self.embed)
        self.rpc.unary("count", CountRequest, self.count)

    async def embed(self, request: EmbedRequest, _: RequestContext) -> Embeddings:
        """L2-normalised vectors in the order of the texts."""
        rows, tokens, cut = await self.encode(request.texts, truncate=request.truncate)
        return Embeddings(Array.of(rows), tokens, cut)

    async def count(self, request: CountRequest, _: RequestContext) -> Counts:
        """The tokens of each text, by which documents are cut into chunks."""
        return Counts(await asyncio.to_thread(self.engine.count, request.texts))


hosting.serve_rpc(Embedding)
