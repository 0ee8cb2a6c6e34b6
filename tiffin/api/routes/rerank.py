"""Reranking in the shapes of Jina's and Cohere's clients, and of TEI's where the body has `texts`.

`/rerank` reads both: `documents` is Jina's and Cohere's, `texts` is TEI's.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag

from models.user_catalog import catalog_of
from tiffin.api.answers import numbers_answer
from tiffin.api.json_route import JsonRoute
from tiffin.api.middleware.limits import check_documents, check_query
from tiffin.api.names import check_model
from tiffin.core.context import RequestContext
from tiffin.core.errors import InvalidRequest
from tiffin.core.values import Value
from tiffin.gateway import Gateway, work_of
from tiffin.traffic.admission import RERANK
from tiffin.traffic.quota import charge

router = APIRouter(tags=["rerank"], route_class=JsonRoute)

DOCUMENTS_OF_A_SEARCH_UNIT = 100
"""Cohere bills a query with up to this many documents as one search unit."""


class TextDocument(Value):
    """A document as an object."""

    text: str


class RerankBody(Value):
    """A query and documents. What is longer than the model reads is truncated."""

    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str | TextDocument], Field(min_length=1)]
    model: Annotated[
        str | None, Field(description="The reranker, as `/v1/models` names it; may be left out.")
    ] = None
    top_n: Annotated[int | None, Field(ge=1, description="How many to answer; none for all.")] = (
        None
    )
    return_documents: Annotated[bool | None, Field(description="Answer the texts as well.")] = False
    max_tokens_per_doc: Annotated[
        int | None, Field(ge=1, description="Not fewer than the reranker reads.")
    ] = None


class TeiRerankBody(Value):
    """A query and texts, as text-embeddings-inference reads them."""

    query: Annotated[str, Field(min_length=1)]
    texts: Annotated[list[str], Field(min_length=1)]
    raw_scores: Annotated[bool, Field(description="Answer logits instead of 0..1.")] = False
    return_text: bool = False
    truncate: Annotated[
        bool | None, Field(description="False refuses what is longer than the model reads.")
    ] = True
    truncation_direction: Literal["right", "Right"] = "right"


def _shape(body: Any) -> str:  # noqa: ANN401  what the client sent
    return "Texts" if isinstance(body, dict) and "texts" in body else "Documents"


# Names with a capital, which `tiffin.api.errors.field_name` leaves out of a field's name.
AnyRerankBody = Annotated[
    Annotated[RerankBody, Tag("Documents")] | Annotated[TeiRerankBody, Tag("Texts")],
    Discriminator(_shape),
]


class RerankResult(Value):
    """One document: its position in the request and its relevance, 0 to 1."""

    index: int
    relevance_score: float
    document: TextDocument | None = None


class RerankUsage(Value):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class BilledUnits(Value):
    """What Cohere's clients read as the price."""

    search_units: int


class ApiVersion(Value):
    """Which version of Cohere's API the answer has the shape of."""

    version: str


class RerankMeta(Value):
    """What Cohere's clients read beside the results."""

    api_version: ApiVersion
    billed_units: BilledUnits


class RerankAnswer(Value):
    """The results, best first."""

    id: str
    model: str
    results: list[RerankResult]
    usage: RerankUsage
    meta: RerankMeta


class TeiRank(Value):
    """One text in TEI's shape."""

    index: int
    score: float
    text: str | None = None


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
    texts = [item if isinstance(item, str) else item.text for item in body.documents]
    _check_cut(body.max_tokens_per_doc, _tokens_read(gateway.settings.home, model))
    check_query(body.query, gateway.settings.limits)
    check_documents(texts, gateway.settings.limits, "documents")
    logits, tokens = await score(body.query, texts, gateway, context)
    scores = sigmoid(logits)
    results = [
        {"index": index, "relevance_score": float(scores[index])}
        | ({"document": {"text": texts[index]}} if body.return_documents else {})
        for index in best_first(logits)[: body.top_n]
    ]
    units = -(-len(texts) // DOCUMENTS_OF_A_SEARCH_UNIT)
    return numbers_answer(
        {
            "id": context.request_id,
            "model": model,
            "results": results,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "meta": {
                "api_version": {"version": version},
                "billed_units": {"search_units": units},
            },
        }
    )


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
    logits, _ = await score(
        body.query, body.texts, gateway, context, truncate=body.truncate is not False
    )
    scores = logits if body.raw_scores else sigmoid(logits)
    return numbers_answer(
        [
            {"index": index, "score": float(scores[index])}
            | ({"text": body.texts[index]} if body.return_text else {})
            for index in best_first(logits)
        ]
    )


async def score(
    query: str | list[str],
    texts: list[str],
    gateway: Gateway,
    context: RequestContext,
    *,
    truncate: bool = True,
) -> tuple[NDArray[np.float32], int]:
    """The reranker's logits for a query, or one query a text, and the tokens they cost."""
    reranker = gateway.clients.reranker
    async with gateway.admission.place(context, RERANK):
        logits, tokens = await reranker.score(query, texts, context, truncate=truncate)
    charge(tokens)
    return logits, tokens


def best_first(logits: NDArray[np.float32]) -> list[int]:
    """Indices from the most to the least relevant; equal ones keep their order."""
    order: list[int] = np.argsort(-logits, kind="stable").tolist()
    return order


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Relevance from 0 to 1."""
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
