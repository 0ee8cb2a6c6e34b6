"""Reranker: relevance of passages to a query by a cross-encoder, batched by tokens."""

import bentoml
import numpy as np

from services import hosting, placing
from services.encoder import Encoder
from services.hosting import settings
from tiffin.core.context import RequestContext
from tiffin.core.messages import Array, RerankRequest, RerankScores


@bentoml.service(
    name="Reranker",
    workers=settings.reranker.workers,
    **hosting.inner(cpu="2", memory="1Gi", gpus=settings.reranker.gpus, concurrency=16),
)
class Reranker(Encoder):
    """Scores passages."""

    rpc = hosting.rpc_app("Reranker", max_in_flight=256)
    section = settings.reranker
    sample = ("warm-up", "warm-up")
    bento_model = hosting.bento_model(section.model)
    fetch = placing.fetching(section.model)

    def __init__(self) -> None:
        from models.engines.encoders import scorer

        with placing.encoder("Reranker"):
            super().__init__(scorer)
        self.rpc.unary("score", RerankRequest, self.score)

    async def score(self, request: RerankRequest, _: RequestContext) -> RerankScores:
        """One logit a passage, in the order of the passages."""
        query = request.query
        queries = [query] * len(request.passages) if isinstance(query, str) else query
        pairs = list(zip(queries, request.passages, strict=True))
        rows, tokens, cut = await self.encode(pairs, truncate=request.truncate)
        logits, *readings = rows.reshape(len(pairs), -1).T
        read = Array.of(np.ascontiguousarray(readings[0])) if readings else None
        paired = Array.of(np.ascontiguousarray(readings[1])) if readings else None
        return RerankScores(Array.of(np.ascontiguousarray(logits)), tokens, cut, read, paired)


hosting.serve_rpc(Reranker)
