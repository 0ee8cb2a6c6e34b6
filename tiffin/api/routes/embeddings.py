"""`/v1/embeddings` as OpenAI's clients call it: texts or token arrays in, vectors out."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag

from tiffin.api.answers import numbers_answer
from tiffin.api.json_route import JsonRoute
from tiffin.api.middleware.limits import check_inputs
from tiffin.api.names import check_model
from tiffin.core.errors import InvalidRequest
from tiffin.core.values import Value
from tiffin.gateway import work_of
from tiffin.traffic.admission import EMBED
from tiffin.traffic.quota import charge

router = APIRouter(tags=["embeddings"], route_class=JsonRoute)

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenArray = Annotated[list[TokenId], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]


def _form(value: Any) -> str:  # noqa: ANN401  what the client sent
    """Which form of input this is meant to be, by its first item: the error names what is wrong."""
    if not isinstance(value, list):
        return "Text"
    first = value[0] if value else ""
    if isinstance(first, list):
        return "TokenArrays"
    return "TokenArray" if isinstance(first, int) else "Texts"


# Tags have a capital: `tiffin.api.errors.field_name` leaves those out of a field's name.
Inputs = Annotated[
    Annotated[Text, Tag("Text")]
    | Annotated[list[Text], Field(min_length=1), Tag("Texts")]
    | Annotated[TokenArray, Tag("TokenArray")]
    | Annotated[list[TokenArray], Field(min_length=1), Tag("TokenArrays")],
    Discriminator(_form),
]


class EmbeddingsRequest(Value):
    """What to embed. A text longer than the model reads is truncated, as the bare library does."""

    input: Annotated[
        Inputs,
        Field(
            description="A text, texts, or token ids as the model's own tokenizer gives them, the"
            " special ones included."
        ),
    ]
    model: Annotated[str, Field(description="The embedding model, as `/v1/models` names it.")]
    encoding_format: Annotated[
        Literal["float", "base64"] | None,
        Field(description="`base64` holds little-endian float32."),
    ] = "float"
    dimensions: Annotated[
        int | None, Field(ge=1, description="Only the model's own number is possible.")
    ] = None
    user: Annotated[str | None, Field(description="Yours; it changes nothing.")] = None


class EmbeddingsUsage(Value):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingItem(Value):
    """One vector of length 1: numbers, or base64 of them."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Value):
    """All vectors, in the order of the input."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingsUsage


@router.post("/v1/embeddings", response_model=EmbeddingList)
async def create_embeddings(body: EmbeddingsRequest, http: Request) -> Response:
    """Embed texts or token arrays."""
    gateway, context = work_of(http)
    limits, model = gateway.settings.limits, gateway.settings.embedding.model
    check_model(body.model, model)
    inputs = as_list(body.input)
    check_inputs(inputs, limits, "input")
    async with gateway.admission.place(context, EMBED):
        rows, tokens = await gateway.clients.embedding.embed(inputs, context)
    charge(tokens)
    check_dimensions(body.dimensions, rows.shape[1])
    data = [
        {"object": "embedding", "index": index, "embedding": embedding}
        for index, embedding in enumerate(_encoded(rows, body.encoding_format))
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return numbers_answer({"object": "list", "data": data, "model": model, "usage": usage})


def as_list(value: str | Sequence[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """The inputs one by one: a single text or token array is a list of one."""
    if isinstance(value, str):
        return [value]
    if all(isinstance(item, int) for item in value):
        return [list(value)]  # type: ignore[arg-type]
    return list(value)  # type: ignore[arg-type]


def _encoded(rows: NDArray[np.float32], encoding: str | None) -> list[Any]:
    if encoding == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]
    vectors: list[Any] = rows.tolist()
    return vectors


def check_dimensions(asked: int | None, width: int) -> None:
    """Raise InvalidRequest for vectors of another length than the model's."""
    if asked is not None and asked != width:
        message = f"dimensions: {asked} is not possible, this model's vectors have {width}"
        raise InvalidRequest(message, param="dimensions", code="unsupported_value")
