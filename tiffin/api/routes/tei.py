"""`/embed` as text-embeddings-inference answers it: the bare vectors.

huggingface_hub's InferenceClient posts the same to the base URL itself, with or without `/v1`.
TEI's `/rerank` is in `tiffin.api.routes.rerank`.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from tiffin.api.answers import numbers_answer
from tiffin.api.json_route import JsonRoute
from tiffin.api.middleware.limits import check_inputs
from tiffin.api.routes.embeddings import Inputs, as_list, check_dimensions
from tiffin.core.errors import InvalidRequest
from tiffin.core.values import Value
from tiffin.gateway import work_of
from tiffin.traffic.admission import EMBED
from tiffin.traffic.quota import charge

router = APIRouter(tags=["embeddings"], route_class=JsonRoute)


class EmbedBody(Value):
    """Texts to embed."""

    inputs: Inputs
    truncate: Annotated[
        bool | None, Field(description="False refuses what is longer than the model reads.")
    ] = True
    normalize: Annotated[
        bool, Field(description="Only true: the model's vectors have length 1.")
    ] = True
    truncation_direction: Literal["right", "Right"] = "right"
    dimensions: Annotated[
        int | None, Field(ge=1, description="Only the model's own number is possible.")
    ] = None
    prompt_name: Annotated[None, Field(description="The model has no prompts.")] = None


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
        rows, tokens = await gateway.clients.embedding.embed(
            inputs, context, truncate=body.truncate is not False
        )
    charge(tokens)
    check_dimensions(body.dimensions, rows.shape[1])
    return numbers_answer(rows.tolist())
