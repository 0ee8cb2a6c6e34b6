"""One typed client a service, as the pipeline uses them. Made by `services/rag.py`."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from models.values import GenerateRequest, TokenEvent
from tiffin.config.services import BY_TIER, SERVICES
from tiffin.core.context import RequestContext
from tiffin.core.errors import UNSUPPORTED_PARAMETER, InvalidRequest, UpstreamFailed
from tiffin.core.messages import (
    Array,
    CountRequest,
    Counts,
    Embeddings,
    EmbedRequest,
    RerankRequest,
    RerankScores,
    RouteDecision,
    RouteRequest,
    SafetyReply,
    SafetyRequest,
    TokenCount,
)
from tiffin.transport.client import ServiceClient


class Encoded(NamedTuple):
    """What an encoder made of its inputs.

    `rows` float32 (inputs, dimensions) of an embedder, L2-normalised, or (inputs,) logits of a
    reranker; the tokens read; and the positions of the inputs whose end the model did not read.
    """

    rows: NDArray[np.float32]
    tokens: int
    cut: list[int]


class Read(NamedTuple):
    """What a reranker made of sentences: `readings` are None of a model without them.

    Both are float32 (sentences,).
    """

    logits: NDArray[np.float32]
    readings: NDArray[np.float32] | None
    tokens: int


class _EncoderClient(ServiceClient):
    """What the clients of both encoders share."""

    def _array(self, array: Array, rows: int) -> NDArray[np.float32]:
        """The array, if it is one of finite numbers with so many rows. Raises UpstreamFailed."""
        try:
            values = array.numpy()
        except ValueError as error:
            raise UpstreamFailed(f"{self._service} answered with a broken array") from error
        if values.shape[:1] != (rows,) or not np.isfinite(values).all():
            raise UpstreamFailed(f"{self._service} answered with a broken array")
        return values


class EmbeddingClient(_EncoderClient):
    """Calls the Embedding service."""

    async def embed(
        self,
        texts: Sequence[str | list[int]],
        context: RequestContext,
        *,
        truncate: bool = True,
    ) -> tuple[NDArray[np.float32], int]:
        """L2-normalised float32 (len(texts), dimensions), and the tokens read.

        A text may be given as ids of the model's tokens. Raises FieldTooLarge for one that is too
        long and may not be truncated.
        """
        encoded = await self.encode(texts, context, truncate=truncate)
        return encoded.rows, encoded.tokens

    async def encode(
        self,
        texts: Sequence[str | list[int]],
        context: RequestContext,
        *,
        truncate: bool = True,
    ) -> Encoded:
        """The same, and which texts were truncated."""
        request = EmbedRequest(list(texts), truncate)
        reply = await self.call("embed", request, Embeddings, context)
        context.bill.encoded_tokens += reply.tokens
        return Encoded(self._array(reply.vectors, len(texts)), reply.tokens, reply.cut)

    async def count(self, texts: Sequence[str], context: RequestContext) -> list[int]:
        """The tokens of each text in the model's own counting, without truncation."""
        reply = await self.call("count", CountRequest(list(texts)), Counts, context)
        if len(reply.tokens) != len(texts):
            raise UpstreamFailed(f"{self._service} counted other texts than it was sent")
        return reply.tokens


class RerankerClient(_EncoderClient):
    """Calls the Reranker service."""

    async def score(
        self,
        query: str | list[str],
        passages: list[str],
        context: RequestContext,
        *,
        truncate: bool = True,
    ) -> tuple[NDArray[np.float32], int]:
        """Float32 logits (len(passages),), higher is more relevant, and the tokens read.

        A list of queries pairs up with the passages. Raises FieldTooLarge for a pair that is too
        long and may not be truncated.
        """
        encoded = await self.encode(query, passages, context, truncate=truncate)
        return encoded.rows, encoded.tokens

    async def encode(
        self,
        query: str | list[str],
        passages: list[str],
        context: RequestContext,
        *,
        truncate: bool = True,
    ) -> Encoded:
        """The same, and which pairs were truncated."""
        request = RerankRequest(query, passages, truncate)
        reply = await self.call("score", request, RerankScores, context)
        context.bill.encoded_tokens += reply.tokens
        return Encoded(self._array(reply.logits, len(passages)), reply.tokens, reply.cut)

    async def read(self, query: str, sentences: list[str], context: RequestContext) -> Read:
        """The logit of each sentence, and whether its model reads an answer there."""
        reply = await self.call("score", RerankRequest(query, sentences), RerankScores, context)
        readings = None
        if reply.readings is not None:
            readings = self._array(reply.readings, len(sentences))
        return Read(self._array(reply.logits, len(sentences)), readings, reply.tokens)

    async def paired(self, one: str, other: str, context: RequestContext) -> float | None:
        """Whether two questions are one, in logits; None of a model that does not tell."""
        request = RerankRequest([one, other], [other, one])
        reply = await self.call("score", request, RerankScores, context)
        return None if reply.paired is None else float(self._array(reply.paired, 2).mean())


class RouterClient(ServiceClient):
    """Calls the Router service."""

    async def route(self, request: RouteRequest, context: RequestContext) -> RouteDecision:
        """Which tier should answer, and which next."""
        return await self.call("route", request, RouteDecision, context)


class SafetyClient(ServiceClient):
    """Calls the Safety service."""

    async def check(self, request: SafetyRequest, context: RequestContext) -> SafetyReply:
        """What the checks say of each text. Raises UpstreamFailed unless it is one result each."""
        reply = await self.call("check", request, SafetyReply, context)
        if len(reply.results) != len(request.texts):
            raise UpstreamFailed(f"{self._service} answered for another number of texts")
        return reply


class LLMClient(ServiceClient):
    """Calls one LLM tier's service."""

    def generate(
        self, request: GenerateRequest, context: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        """Stream the answer; closing the generator stops the engine."""
        if any(turn.images for turn in request.messages):
            message = f"messages: {self._service} sees no images"
            raise InvalidRequest(message, param="messages", code=UNSUPPORTED_PARAMETER)
        events = self.stream("generate", request, TokenEvent, context)
        return cast("AsyncGenerator[TokenEvent, None]", events)

    async def count_tokens(self, request: GenerateRequest, context: RequestContext) -> int:
        """How many tokens the messages and tools of a request are for the tier's model."""
        return (await self.call("count_tokens", request, TokenCount, context)).tokens


@dataclass(frozen=True)
class Clients:
    """One client a service; `tiers` has those of the LLM tiers by the tier's name."""

    embedding: EmbeddingClient
    reranker: RerankerClient
    router: RouterClient
    tiers: Mapping[str, LLMClient]
    may_sleep: frozenset[str] = frozenset()
    """Names of services that may have no replica until someone asks for them."""
    safety: SafetyClient | None = None

    def by_service(self) -> dict[str, ServiceClient]:
        """All of them by the service's name."""
        of_task: dict[str, ServiceClient] = {
            "embedding": self.embedding,
            "rerank": self.reranker,
            "route": self.router,
        }
        if self.safety is not None:
            of_task["safety"] = self.safety
        named = {row.name: of_task[row.task] for row in SERVICES if row.task in of_task}
        return named | {BY_TIER[tier].name: client for tier, client in self.tiers.items()}
