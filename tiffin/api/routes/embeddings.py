"""Texts or token arrays in, vectors out, in the shapes of two kinds of clients.

OpenAI's call `/v1/embeddings`. Those of text-embeddings-inference call `/embed`, which answers the
bare vectors; huggingface_hub's InferenceClient posts the same to the base URL itself, with or
without `/v1`.
"""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from tiffin.api.bodies import JsonRoute, numbers_answer, usage_of
from tiffin.api.checks import check_dimensions, check_inputs, check_model
from tiffin.api.schemas.embeddings import EmbedBody, EmbeddingList, EmbeddingsRequest, as_list
from tiffin.core.errors import InvalidRequest
from tiffin.gateway import work_of
from tiffin.traffic.admission import EMBED
from tiffin.traffic.quota import charge

router = APIRouter(tags=["embeddings"], route_class=JsonRoute)


@router.post("/v1/embeddings", response_model=EmbeddingList)
async def create_embeddings(body: EmbeddingsRequest, http: Request) -> Response:
    """Embed texts or token arrays."""
    gateway, context = work_of(http)
    limits, model = gateway.settings.limits, gateway.settings.embedding.model
    check_model(body.model, model)
    inputs = as_list(body.input)
    check_inputs(inputs, limits, "input")
    async with gateway.admission.place(context, EMBED):
        rows, tokens, cut = await gateway.clients.embedding.encode(inputs, context)
    charge(tokens)
    check_dimensions(body.dimensions, rows.shape[1])
    data = [
        {"object": "embedding", "index": index, "embedding": embedding}
        for index, embedding in enumerate(_encoded(rows, body.encoding_format))
    ]
    usage = usage_of(tokens, cut)
    return numbers_answer({"object": "list", "data": data, "model": model, "usage": usage}, cut)


@router.post("/embed", response_model=list[list[float]])
@router.post("/", response_model=list[list[float]])
@router.post("/v1", response_model=list[list[float]])
async def embed(body: EmbedBody, http: Request) -> Response:
    """Embed texts; one vector each, in their order."""
    gateway, context = work_of(http)
    if not body.normalize:
        message = "normalize: false is not possible, this model's vectors have length 1"
        raise InvalidRequest(message, param="normalize", code="unsupported_value")
    inputs = as_list(body.inputs)
    check_inputs(inputs, gateway.settings.limits, "inputs")
    async with gateway.admission.place(context, EMBED):
        rows, tokens, cut = await gateway.clients.embedding.encode(
            inputs, context, truncate=body.truncate is not False
        )
    charge(tokens)
    check_dimensions(body.dimensions, rows.shape[1])
    return numbers_answer(rows.tolist(), cut)


def _encoded(rows: NDArray[np.float32], encoding: str | None) -> list[Any]:
    if encoding == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]
    vectors: list[Any] = rows.tolist()
    return vectors
