"""How a search in a corpus orders what it finds, in OpenAI's shape: for a search and an answer."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


def absent(value: object) -> bool:
    """Whether a field is left out of a body, rather than null, because it has no value."""
    return value is None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Weights(_Part):
    """How much each half of the search counts."""

    embedding_weight: Annotated[float, Field(ge=0)]
    text_weight: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _one_counts(self) -> "Weights":
        if not any(self.as_pair()):
            raise ValueError("one of the weights must be more than 0")
        return self

    def as_pair(self) -> tuple[float, float]:
        """As the search takes them: the meaning's, then the words'."""
        return self.embedding_weight, self.text_weight


class Ranking(_Part):
    """How results are ordered, and how good they must be."""

    ranker: Annotated[
        str | None,
        Field(
            description="`none` leaves the order of the search; any other reranks.",
            exclude_if=absent,
        ),
    ] = None
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    hybrid_search: Annotated[Weights | None, Field(exclude_if=absent)] = None
