"""`/score` as vLLM answers it: how relevant are the texts of one side to those of the other."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AliasChoices, Field

from tiffin.api.answers import numbers_answer
from tiffin.api.json_route import JsonRoute
from tiffin.api.middleware.limits import check_documents, check_query
from tiffin.api.names import check_model
from tiffin.api.routes.rerank import score, sigmoid
from tiffin.core.errors import InvalidRequest
from tiffin.core.values import Value
from tiffin.gateway import work_of

router = APIRouter(tags=["rerank"], route_class=JsonRoute)

Texts = str | Annotated[list[str], Field(min_length=1)]


class ScoreBody(Value):
    """Two sides: one text against many, or as many on both sides, pair by pair."""

    text_1: Annotated[
        Texts,
        Field(
            validation_alias=AliasChoices("text_1", "queries", "data_1"),
            description="The query, or one for each text of `text_2`; also `queries`, `data_1`.",
        ),
    ]
    text_2: Annotated[
        Texts,
        Field(
            validation_alias=AliasChoices("text_2", "documents", "data_2"),
            description="The text, or texts; also `documents`, `data_2`.",
        ),
    ]
    model: Annotated[
        str | None, Field(description="The reranker, as `/v1/models` names it; may be left out.")
    ] = None


class ScoreItem(Value):
    """The relevance of one pair, 0 to 1."""

    index: int
    object: Literal["score"]
    score: float


class ScoreUsage(Value):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int


class ScoreList(Value):
    """The scores in the order of the pairs."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ScoreItem]
    usage: ScoreUsage


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
    logits, tokens = await score(queries, texts, gateway, context)
    data = [
        {"index": index, "object": "score", "score": float(value)}
        for index, value in enumerate(sigmoid(logits))
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    return numbers_answer(
        {
            "id": f"score-{context.request_id}",
            "object": "list",
            "created": int(time.time()),
            "model": model,
            "data": data,
            "usage": usage,
        }
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
