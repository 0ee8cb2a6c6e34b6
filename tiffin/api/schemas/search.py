"""OpenAI's shapes of a search in a vector store, and of what it finds."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tiffin.core.filters import Filter
from tiffin.core.ranking import Ranking
from tiffin.core.values import Items, Value
from tiffin.corpus.hybrid import Hit

MAX_RESULTS = 50


class VectorStoreQuery(Value):
    """The body of a search in a vector store."""

    query: str | Items[str]
    max_num_results: Annotated[int, Field(ge=1, le=MAX_RESULTS)] = 10
    filters: Filter | None = None
    ranking_options: Ranking | None = None
    rewrite_query: Annotated[
        bool, Field(description="Only `false`: a query is searched as it is asked.")
    ] = False

    @field_validator("query")
    @classmethod
    def _not_empty(cls, query: str | list[str]) -> str | list[str]:
        if not (query if isinstance(query, str) else " ".join(query)).strip():
            raise ValueError("it is empty")
        return query

    @property
    def text(self) -> str:
        """The query as one text."""
        return self.query if isinstance(self.query, str) else " ".join(self.query)


class Content(Value):
    """A piece of text."""

    type: Literal["text"] = "text"
    text: str


class SearchResult(Value):
    """A chunk that was found, and where it is in its file."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Any]
    content: list[Content]
    page: Annotated[int | None, Field(description="Page, slide or sheet, from 1. Ours.")]
    headings: Annotated[list[str], Field(description="The headings above it. Ours.")]
    start: Annotated[int, Field(description="Where it starts in the file's text. Ours.")]
    end: int

    @classmethod
    def of(cls, hit: Hit, score: float) -> "SearchResult":
        """A hit in OpenAI's shape."""
        row = hit.row
        return cls(
            file_id=row.file,
            filename=hit.name,
            score=score,
            attributes=dict(hit.attributes),
            content=[Content(text=row.quote)],
            page=row.page,
            headings=list(row.headings),
            start=row.start,
            end=row.end,
        )


class SearchPage(Value):
    """What a search found, best first."""

    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[SearchResult]
    has_more: bool = False
    next_page: None = None
