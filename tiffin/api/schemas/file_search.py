"""The tool `file_search` of `/v1/responses`: what clients send, and what its search answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from tiffin.core.filters import Filter
from tiffin.core.ranking import Ranking, absent
from tiffin.core.values import MAX_CORPORA, Items, Value

MAX_RESULTS = 50


class FileSearchTool(Value):
    """Answers from vector stores: the last turn of the user is what is searched for."""

    type: Literal["file_search"]
    vector_store_ids: Annotated[
        Items[str],
        Field(min_length=1, max_length=MAX_CORPORA, description="Their ids, or their names."),
    ]
    max_num_results: Annotated[int | None, Field(ge=1, le=MAX_RESULTS, exclude_if=absent)] = None
    filters: Annotated[Filter | None, Field(exclude_if=absent)] = None
    ranking_options: Annotated[Ranking | None, Field(exclude_if=absent)] = None

    @field_validator("ranking_options")
    @classmethod
    def _reranked(cls, ranking: Ranking | None) -> Ranking | None:
        if ranking is not None and ranking.ranker == "none":
            raise ValueError("ranker 'none' is for a search; an answer needs the reranker")
        return ranking


class SearchChoice(Value):
    """Files must be searched, which is done anyway."""

    type: Literal["file_search"]


class InputSearchCall(Value):
    """A search of an earlier answer. What it found is not read again: each answer searches anew."""

    type: Literal["file_search_call"]
    id: str | None = None
    queries: list[str] | None = None
    results: list[Any] | None = None
    status: str | None = None


class FileResult(BaseModel):
    """A passage that was found."""

    file_id: str
    filename: str
    score: float
    text: str
    attributes: dict[str, str | float | bool]
    page: Annotated[int | None, Field(description="Page, slide or sheet, from 1. Ours.")]
    headings: Annotated[list[str], Field(description="The headings above it. Ours.")]


class FileSearchCall(BaseModel):
    """The search that an answer is based on."""

    type: Literal["file_search_call"] = "file_search_call"
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    queries: list[str]
    results: Annotated[
        list[FileResult] | None,
        Field(description="Only if `include` has `file_search_call.results`."),
    ] = None


class FileCitation(BaseModel):
    """Says that the answer's text before `index` is supported by a file."""

    type: Literal["file_citation"] = "file_citation"
    file_id: str
    filename: str
    index: Annotated[int, Field(description="Where the supported text ends, in code points.")]
