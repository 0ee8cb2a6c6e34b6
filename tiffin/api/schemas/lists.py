"""What OpenAI's lists of files and vector stores share: pages, their queries, and deletions."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field

from tiffin.core.values import Value

Status = Literal["in_progress", "completed", "failed", "cancelled"]

Listed = TypeVar("Listed", bound=Value)


class Listing(Value, Generic[Listed]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[Listed]
    first_id: str | None
    last_id: str | None
    has_more: bool


def listing(items: Sequence[Any], limit: int) -> Listing[Any]:
    """A page of at most `limit` items, out of one more than that if there are more."""
    data = list(items[:limit])
    return Listing(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(items) > limit,
    )


class ListQuery(Value):
    """The query of a list."""

    after: str | None = None
    before: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    filter: Status | None = None


class Deleted(Value):
    """What was deleted."""

    id: str
    object: str
    deleted: bool = True
