"""Embedding: texts to vectors by sentence-transformers, batched by tokens."""

import bentoml

from services import hosting, placing
from services.hosting import settings
from tiffin.core.context import RequestContext
from tiffin.core.messages import Array, Embeddings, EmbedRequest, ServiceHealth
from tiffin.traffic.batching import TokenBatcher

rpc = hosting.rpc_app("Embedding", max_in_flight=256)


@bentoml.service(
    name="Embedding",
    workers=settings.embedding.workers,
    resources=hosting.resources(cpu="2", memory="1Gi", gpus=settings.embedding.gpus),
    traffic={"timeout": hosting.REQUEST_TIMEOUT_S, "concurrency": 32},
    logging=hosting.INTERNAL_LOGGING,
)
class Embedding:
    """Embeds queries and passages. Torch lives in this process and in the Reranker's only."""

    bento_model = hosting.bento_model(settings.embedding.model)

    def __init__(self) -> None:
        from models.engines.cores import free_cores
        from models.engines.sentence_transformers import Embedder

        with placing.encoder("Embedding"):
            engine = Embedder(
                hosting.weights(settings.embedding.model),
                device=settings.embedding.device,
                threads=settings.embedding.threads or free_cores(settings.embedding.workers),
            )
        self.engine = engine
        self.batcher = TokenBatcher(
            engine.tokenize,
            engine.run,
            max_batch_tokens=settings.embedding.max_batch_tokens,
            max_queue_tokens=settings.embedding.max_queue_tokens,
        )
        rpc.unary("embed", EmbedRequest, self.embed)

    @bentoml.on_deployment
    def fetch() -> None:  # BentoML makes it static
        """Make the plan and fetch the weights before a worker starts."""
        placing.plan()
        hosting.fetch_weights(settings.embedding.model)

    @bentoml.on_startup
    async def warm_up(self) -> None:
        """Run the model once, so that the first request finds everything loaded."""
        await self.batcher.submit(["warm-up"])
        rpc.health(self.health)
        hosting.log_ready("Embedding")

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Fail the requests that still wait."""
        await self.batcher.close()

    async def embed(self, request: EmbedRequest, _: RequestContext) -> Embeddings:
        """L2-normalised vectors in the order of the texts."""
        tokenize = None if request.truncate else self.engine.tokenize_whole
        rows, tokens = await self.batcher.submit(request.texts, tokenize)
        return Embeddings(Array.of(rows), tokens)

    async def health(self) -> ServiceHealth:
        """Ready from the first warm batch on."""
        return ServiceHealth(ready=True)


hosting.serve_rpc(Embedding, rpc)
