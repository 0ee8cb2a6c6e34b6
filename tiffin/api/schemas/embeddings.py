"""The bodies of `/v1/embeddings`, as OpenAI publishes them, and of TEI's `/embed`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from tiffin.core.values import Items, Value

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenArray = Annotated[Items[TokenId], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]


def _form(value: Any) -> str:  # noqa: ANN401  what the client sent
    """Which form of input this is meant to be, by its first item: the error names what is wrong."""
    if not isinstance(value, list):
        return "Text"
    first = value[0] if value else ""
    if isinstance(first, list):
        return "TokenArrays"
    return "TokenArray" if isinstance(first, int) else "Texts"


# Tags begin with a capital: `tiffin.api.bodies.field_name` leaves those out of a field's name.
Inputs = Annotated[
    Annotated[Text, Tag("Text")]
    | Annotated[Items[Text], Field(min_length=1), Tag("Texts")]
    | Annotated[TokenArray, Tag("TokenArray")]
    | Annotated[Items[TokenArray], Field(min_length=1), Tag("TokenArrays")],
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


class EmbedBody(Value):
    """Texts to embed. As TEI itself does, it reads over fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    inputs: Inputs
    truncate: Annotated[
        bool | None, Field(description="False refuses what is longer than the model reads.")
    ] = True
    normalize: Annotated[
        bool, Field(description="Only true: the model's vectors have length 1.")
    ] = True
    truncation_direction: Literal["right", "Right"] = "right"
    parameters: Annotated[
        None, Field(description="Of TGI's body, which asks for a text: use chat completions.")
    ] = None
    dimensions: Annotated[
        int | None, Field(ge=1, description="Only the model's own number is possible.")
    ] = None
    prompt_name: Annotated[None, Field(description="The model has no prompts.")] = None


class EmbeddingsUsage(Value):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int
    truncated_inputs: Annotated[
        list[int] | None,
        Field(description="Positions of those that the model did not read to their end."),
    ] = None


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


def as_list(value: str | Sequence[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """The inputs one by one: a single text or token array is a list of one."""
    if isinstance(value, str):
        return [value]
    if all(isinstance(item, int) for item in value):
        return [list(value)]  # type: ignore[arg-type]
    return list(value)  # type: ignore[arg-type]
