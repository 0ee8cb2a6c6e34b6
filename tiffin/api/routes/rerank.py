"""Relevance of texts to a query, in the shapes of four kinds of clients.

`/rerank` reads two: `documents` is Jina's and Cohere's, `texts` is TEI's. `/score` is vLLM's: how
relevant are the texts of one side to those of the other.
"""

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from models.user_catalog import catalog_of
from tiffin.api.bodies import JsonRoute, numbers_answer, usage_of
from tiffin.api.checks import check_documents, check_model, check_query
from tiffin.api.schemas.rerank import (
    AnyRerankBody,
    RerankAnswer,
    RerankBody,
    ScoreBody,
    ScoreList,
    TeiRank,
    TeiRerankBody,
    TextDocument,
)
from tiffin.clients import Encoded
from tiffin.core.context import RequestContext
from tiffin.core.errors import InvalidRequest
from tiffin.core.scores import best_first, sigmoid
from tiffin.gateway import Gateway, work_of
from tiffin.traffic.admission import RERANK
from tiffin.traffic.quota import charge

router = APIRouter(tags=["rerank"], route_class=JsonRoute)

DOCUMENTS_OF_A_SEARCH_UNIT = 100
"""Cohere bills a query with up to this many documents as one search unit."""

NO_TEXT = -100.0
"""The logit of an empty document, far below any that the model gives: its relevance is 0."""


@router.post("/v1/rerank", response_model=RerankAnswer)
async def rerank_v1(body: RerankBody, http: Request) -> Response:
    """Order documents by relevance to the query, best first."""
    gateway, context = work_of(http)
    return await _rerank(body, gateway, context, version="1")


@router.post("/v2/rerank", response_model=RerankAnswer)
async def rerank_v2(body: RerankBody, http: Request) -> Response:
    """`/v1/rerank` for the second version of Cohere's API."""
    gateway, context = work_of(http)
    return await _rerank(body, gateway, context, version="2")


@router.post("/rerank", response_model=RerankAnswer | list[TeiRank])
async def rerank(body: AnyRerankBody, http: Request) -> Response:
    """`/v1/rerank`; a body with `texts` is TEI's and is answered with its bare list."""
    gateway, context = work_of(http)
    if isinstance(body, RerankBody):
        return await _rerank(body, gateway, context, version="1")
    return await _tei_rerank(body, gateway, context)


async def _rerank(
    body: RerankBody, gateway: Gateway, context: RequestContext, *, version: str
) -> Response:
    model = gateway.settings.reranker.model
    check_model(body.model, model)
    texts = [
        item if isinstance(item, str) else _text_of(item, f"documents[{index}]", body.rank_fields)
        for index, item in enumerate(body.documents)
    ]
    _check_cut(body.max_tokens_per_doc, _tokens_read(gateway.settings.home, model))
    check_query(body.query, gateway.settings.limits)
    check_documents(texts, gateway.settings.limits, "documents")
    logits, tokens, cut = await _score(body.query, texts, gateway, context)
    scores = sigmoid(logits)
    results = [
        {"index": index, "relevance_score": float(scores[index])}
        | ({"document": _as_sent(body.documents[index])} if body.return_documents else {})
        for index in best_first(logits)[: body.top_n]
    ]
    units = -(-len(texts) // DOCUMENTS_OF_A_SEARCH_UNIT)
    return numbers_answer(
        {
            "id": context.request_id,
            "model": model,
            "results": results,
            "usage": usage_of(tokens, cut),
            "meta": {
                "api_version": {"version": version},
                "billed_units": {"search_units": units},
            },
        },
        cut,
    )


def _text_of(document: TextDocument, name: str, fields: Sequence[str] | None) -> str:
    """What the model reads of a document. Raises InvalidRequest if it lacks one of the fields."""
    sent = _as_sent(document)
    found = []
    for field in fields or ("text",):
        value = sent.get(field)
        if not isinstance(value, str):
            param = f"{name}.{field}"
            what = "field required" if field not in sent else "must be a string to be ranked by"
            raise InvalidRequest(f"{param}: {what}", param=param, code="missing")
        found.append(value)
    return "\n".join(found)


def _as_sent(document: str | TextDocument) -> dict[str, Any]:
    if isinstance(document, str):
        return {"text": document}
    return document.model_dump(exclude_unset=True)


def _check_cut(asked: int | None, read: int) -> None:
    """Only a number below the model's own would change anything. Haystack asks for 4,096."""
    if asked is not None and asked < read:
        message = f"max_tokens_per_doc: {asked} is not possible, the reranker reads {read} tokens"
        raise InvalidRequest(message, param="max_tokens_per_doc", code="unsupported_value")


@cache
def _tokens_read(home: Path, model: str) -> int:
    """How many tokens of a query and a document together the reranker reads."""
    return catalog_of(home).get(model).context_tokens


async def _tei_rerank(body: TeiRerankBody, gateway: Gateway, context: RequestContext) -> Response:
    check_query(body.query, gateway.settings.limits)
    check_documents(body.texts, gateway.settings.limits, "texts")
    logits, _, cut = await _score(
        body.query, body.texts, gateway, context, truncate=body.truncate is not False
    )
    scores = logits if body.raw_scores else sigmoid(logits)
    return numbers_answer(
        [
            {"index": index, "score": float(scores[index])}
            | ({"text": body.texts[index]} if body.return_text else {})
            for index in best_first(logits)
        ],
        cut,
    )


@router.post("/score", response_model=ScoreList)
@router.post("/v1/score", response_model=ScoreList)
async def score_pairs(body: ScoreBody, http: Request) -> Response:
    """Score pairs of texts."""
    gateway, context = work_of(http)
    model, limits = gateway.settings.reranker.model, gateway.settings.limits
    check_model(body.model, model)
    queries, texts = _pairs(body)
    check_documents(texts, limits, "text_2")
    for index, query in enumerate(queries):
        check_query(query, limits, f"text_1[{index}]")
    logits, tokens, cut = await _score(queries, texts, gateway, context)
    data = [
        {"index": index, "object": "score", "score": float(value)}
        for index, value in enumerate(sigmoid(logits))
    ]
    usage = usage_of(tokens, cut) | {"completion_tokens": 0}
    return numbers_answer(
        {
            "id": f"score-{context.request_id}",
            "object": "list",
            "created": int(time.time()),
            "model": model,
            "data": data,
            "usage": usage,
        },
        cut,
    )


def _pairs(body: ScoreBody) -> tuple[list[str], list[str]]:
    """As many queries as texts."""
    queries = [body.text_1] if isinstance(body.text_1, str) else body.text_1
    texts = [body.text_2] if isinstance(body.text_2, str) else body.text_2
    if len(queries) == 1:
        queries = queries * len(texts)
    if len(queries) != len(texts):
        message = f"text_1: {len(queries)} texts cannot pair up with {len(texts)} of text_2"
        raise InvalidRequest(message, param="text_1", code="length_mismatch")
    return queries, texts


async def _score(
    query: str | list[str],
    texts: list[str],
    gateway: Gateway,
    context: RequestContext,
    *,
    truncate: bool = True,
) -> Encoded:
    """The reranker's logits for a query, or one query a text; what they cost, and what was cut.

    A text without any word is not scored: it is as irrelevant as can be.
    """
    queries = [query] * len(texts) if isinstance(query, str) else query
    said = [
        index
        for index, pair in enumerate(zip(queries, texts, strict=True))
        if all(side.strip() for side in pair)
    ]
    logits = np.full(len(texts), NO_TEXT, np.float32)
    async with gateway.admission.place(context, RERANK):
        if not said:
            return Encoded(logits, 0, [])
        asked = query if isinstance(query, str) else [query[index] for index in said]
        scored = await gateway.clients.reranker.encode(
            asked, [texts[index] for index in said], context, truncate=truncate
        )
    charge(scored.tokens)
    logits[said] = scored.rows
    return Encoded(logits, scored.tokens, [said[index] for index in scored.cut])
