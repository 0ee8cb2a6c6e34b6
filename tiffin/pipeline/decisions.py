"""Probabilities in place of text: is it so, which option, which level? For `/v1/decisions`.

`Gateway.decide` calls it. Each answer's basis says what stands behind it:

    provider       the tier is a provider that answers decisions itself
    answerability  a predicate that asks ("When was it built?"): the head of `/rag_query` says how
                   likely it is that the input answers
    reranker       a choice that asks: how relevant the input is to each option
    next_token     otherwise, and always for a tier that is named: `tiffin.pipeline.first_token`

A policy, such as `auto`, takes the encoders for what asks, because they are right more often than
a small LLM (docs/decisions-api.md); `quote` asks no LLM at all.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from models.values import ChatMessage, GenerateRequest, TokenUsage
from tiffin.clients import RerankerClient
from tiffin.core.context import RequestContext
from tiffin.core.errors import InvalidRequest, UpstreamFailed
from tiffin.core.values import QUOTE, Document, RagAnswer, RagEvent, RagRequest
from tiffin.pipeline.first_token import Asked, Basis, FirstToken, Judged, sum_of
from tiffin.pipeline.passages import split_documents

SHARPNESS = 2.0
"""Makes probabilities of the reranker's logits: the best of three on development questions."""

PASSAGES = 2
"""Passages of the input, the most relevant to the question, that options are compared with."""

ASIDE = 4
"""Questions of a request that a tier is asked at a time."""


class Decided(msgspec.Struct, frozen=True):
    """One answer a question; or, from a provider, its own `answers` as they came."""

    model: str
    judged: list[Judged]
    usage: TokenUsage
    answers: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Decisions:
    """Holds no state of a request. `offered_by` are the tiers that may answer decisions."""

    answer: Callable[[RagRequest, RequestContext], AsyncGenerator[RagEvent, None]]
    """`RagPipeline.stream`."""
    first_token: FirstToken
    reranker: RerankerClient
    reranker_model: str
    offered_by: frozenset[str]

    async def decide(
        self,
        lane: str,
        text: str,
        questions: Sequence[Asked],
        context: RequestContext,
        body: dict[str, Any],
    ) -> Decided:
        """Answer all questions about the text. `body` is the request for a provider.

        `lane` is a tier, a policy or `quote`. Raises InvalidRequest for what it cannot judge.
        """
        if lane in self.offered_by and (passed := await self._passed(lane, text, body, context)):
            return passed
        named = lane in self.first_token.tiers
        found: list[Judged | None] = []
        for number, asked in enumerate(questions):
            if lane == QUOTE or (asked.is_open and not named):
                judge = self._relevant if asked.options else self._answerable
                found.append(await judge(text, asked, context, f"questions[{number}]"))
            else:
                found.append(None)
        left = [asked for asked, one in zip(questions, found, strict=True) if one is None]
        rest = iter(await self._written(lane, text, left, context))
        judged = [one or next(rest) for one in found]
        written = next((one for one in judged if one.tier), judged[0])
        return Decided(written.basis.model, judged, sum_of([one.usage for one in judged]))

    async def _written(
        self, lane: str, text: str, questions: Sequence[Asked], context: RequestContext
    ) -> list[Judged]:
        """What the tier says to each. The first fills its prompt cache, and settles the tier."""
        if not questions:
            return []
        first = await self.first_token.judge(lane, text, questions[0], context)
        places = asyncio.Semaphore(ASIDE)

        async def judge(asked: Asked) -> Judged:
            async with places:
                return await self.first_token.judge(first.tier, text, asked, context)

        others = [asyncio.create_task(judge(asked)) for asked in questions[1:]]
        try:
            return [first, *(await asyncio.gather(*others))]
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _answerable(
        self, text: str, asked: Asked, context: RequestContext, field: str
    ) -> Judged:
        """How likely it is that the text answers the question. Raises InvalidRequest for others."""
        if not asked.is_open:
            message = (
                f"{field}: `quote` says only whether the input answers a question, or which option"
                " fits it; name a tier to have a statement judged"
            )
            raise InvalidRequest(message, param="model", code="unsupported_value")
        request = RagRequest(query=asked.text, documents=[text], model=QUOTE, cache=False)
        async with aclosing(self.answer(request, context)) as events:
            (answer,) = [event async for event in events if isinstance(event, RagAnswer)]
        if answer.probability is None:
            raise UpstreamFailed("what says whether a text answers a question is not there")
        read = answer.usage.embedding_tokens + answer.usage.rerank_tokens
        basis = Basis(by="answerability", model=self.reranker_model)
        usage = TokenUsage(prompt_tokens=read, completion_tokens=0)
        return Judged([answer.probability], basis, usage)

    async def _relevant(self, text: str, asked: Asked, context: RequestContext, _: str) -> Judged:
        """How relevant the text is to the question with each of the options as its answer."""
        passages = [one.text for one in split_documents([Document(text=text)])]
        ranks, read = await self.reranker.score(asked.text, passages, context)
        best = [passages[index] for index in np.argsort(-ranks)[:PASSAGES]]
        queries = [f"{option} {asked.text}" for option in asked.options for _ in best]
        logits, more = await self.reranker.score(queries, best * len(asked.options), context)
        highest = logits.reshape(len(asked.options), len(best)).max(axis=1)
        shares = np.exp(SHARPNESS * (highest - highest.max()))
        basis = Basis(by="reranker", model=self.reranker_model)
        usage = TokenUsage(prompt_tokens=read + more, completion_tokens=0)
        return Judged((shares / shares.sum()).tolist(), basis, usage)

    async def _passed(
        self, tier: str, text: str, body: dict[str, Any], context: RequestContext
    ) -> Decided | None:
        """The provider's own answers; None if it does not offer them for this model."""
        request = GenerateRequest(messages=[ChatMessage("user", text)], decision=body)
        try:
            head, said, _, usage = await self.first_token.write(tier, request, context)
        except InvalidRequest:
            return None
        basis = Basis(by="provider", model=head.model).model_dump(exclude_none=True)
        answers = [answer | {"basis": basis} for answer in json.loads(said)["answers"]]
        return Decided(head.model, [], usage, answers)
