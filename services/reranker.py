"""Reranker: relevance of passages to a query by a cross-encoder, batched by tokens."""

import bentoml

from services import hosting, placing
from services.hosting import settings
from tiffin.core.context import RequestContext
from tiffin.core.messages import Array, RerankRequest, RerankScores, ServiceHealth
from tiffin.traffic.batching import TokenBatcher

rpc = hosting.rpc_app("Reranker", max_in_flight=256)


@bentoml.service(
    name="Reranker",
    workers=settings.reranker.workers,
    resources=hosting.resources(cpu="2", memory="1Gi", gpus=settings.reranker.gpus),
    traffic={"timeout": hosting.REQUEST_TIMEOUT_S, "concurrency": 16},
    logging=hosting.INTERNAL_LOGGING,
)
class Reranker:
    """Scores passages. Torch lives in this process and in the Embedding's only."""

    bento_model = hosting.bento_model(settings.reranker.model)

    def __init__(self) -> None:
        from models.engines.cores import free_cores
        from models.engines.sentence_transformers import CrossEncoderScorer

        with placing.encoder("Reranker"):
            engine = CrossEncoderScorer(
                hosting.weights(settings.reranker.model),
                device=settings.reranker.device,
                threads=settings.reranker.threads or free_cores(settings.reranker.workers),
            )
        self.engine = engine
        self.batcher = TokenBatcher(
            engine.tokenize,
            engine.run,
            max_batch_tokens=settings.reranker.max_batch_tokens,
            max_queue_tokens=settings.reranker.max_queue_tokens,
        )
        rpc.unary("score", RerankRequest, self.score)

    @bentoml.on_deployment
    def fetch() -> None:  # BentoML makes it static
        """Make the plan and fetch the weights before a worker starts."""
        placing.plan()
        hosting.fetch_weights(settings.reranker.model)

    @bentoml.on_startup
    async def warm_up(self) -> None:
        """Run the model once, so that the first request finds everything loaded."""
        await self.batcher.submit([("warm-up", "warm-up")])
        rpc.health(self.health)
        hosting.log_ready("Reranker")

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Fail the requests that still wait."""
        await self.batcher.close()

    async def score(self, request: RerankRequest, _: RequestContext) -> RerankScores:
        """One logit a passage, in the order of the passages."""
        query = request.query
        queries = [query] * len(request.passages) if isinstance(query, str) else query
        pairs = list(zip(queries, request.passages, strict=True))
        tokenize = None if request.truncate else self.engine.tokenize_whole
        rows, tokens = await self.batcher.submit(pairs, tokenize)
        return RerankScores(Array.of(rows.reshape(-1)), tokens)

    async def health(self) -> ServiceHealth:
        """Ready from the first warm batch on."""
        return ServiceHealth(ready=True)


hosting.serve_rpc(Reranker, rpc)
