"""The bodies of `/rerank`, as Jina, Cohere and TEI publish them, and of vLLM's `/score`."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, ConfigDict, Discriminator, Field, JsonValue, Tag

from tiffin.core.values import Items, Value


class Lenient(Value):
    """A body whose API reads over fields that it does not know, and whose clients send some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TextDocument(Value):
    """A document as an object, with more fields than its text if it has them."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    text: str | None = None


class RerankBody(Lenient):
    """A query and documents. What is longer than the model reads is truncated."""

    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[Items[str | TextDocument], Field(min_length=1)]
    model: Annotated[
        str | None, Field(description="The reranker, as `/v1/models` names it; may be left out.")
    ] = None
    top_n: Annotated[
        int | None,
        Field(
            ge=1,
            validation_alias=AliasChoices("top_n", "top_k"),
            description="How many to answer; none for all. Also `top_k`.",
        ),
    ] = None
    rank_fields: Annotated[
        Items[str] | None,
        Field(min_length=1, description="The fields of documents to read, in order; else `text`."),
    ] = None
    return_documents: Annotated[bool | None, Field(description="Answer the texts as well.")] = False
    max_tokens_per_doc: Annotated[
        int | None, Field(ge=1, description="Not fewer than the reranker reads.")
    ] = None
    # What these ask for would change the scores.
    instruction: Annotated[None, Field(description="The reranker reads none.")] = None
    max_chunks_per_doc: Annotated[None, Field(description="Documents are truncated instead.")] = (
        None
    )


class TeiRerankBody(Lenient):
    """A query and texts, as text-embeddings-inference reads them."""

    query: Annotated[str, Field(min_length=1)]
    texts: Annotated[Items[str], Field(min_length=1)]
    raw_scores: Annotated[bool, Field(description="Answer logits instead of 0..1.")] = False
    return_text: bool = False
    truncate: Annotated[
        bool | None, Field(description="False refuses what is longer than the model reads.")
    ] = True
    truncation_direction: Literal["right", "Right"] = "right"


def _shape(body: Any) -> str:  # noqa: ANN401  what the client sent
    return "Texts" if isinstance(body, dict) and "texts" in body else "Documents"


# Tags begin with a capital: `tiffin.api.bodies.field_name` leaves those out of a field's name.
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
    truncated_inputs: Annotated[
        list[int] | None,
        Field(description="Positions of those that the model did not read to their end."),
    ] = None


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


Texts = str | Annotated[Items[str], Field(min_length=1)]


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


class ScoreUsage(RerankUsage):
    """Tokens read."""

    completion_tokens: int


class ScoreList(Value):
    """The scores in the order of the pairs."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ScoreItem]
    usage: ScoreUsage
