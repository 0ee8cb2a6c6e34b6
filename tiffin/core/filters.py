"""Filters by the attributes of files, in OpenAI's shape: for a question and for a search alike.

A file that lacks the attribute passes `ne` and `nin`, and nothing else.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Scalar = str | int | float | bool

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class _Filter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Comparison(_Filter):
    """Compares one attribute with a value, or with those of a list."""

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: Annotated[str, Field(min_length=1, max_length=64)]
    value: Annotated[
        Scalar | Annotated[list[Scalar], Field(max_length=1000)],
        Field(description="A list for `in` and `nin`, otherwise one value."),
    ]

    def allows(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a file with these attributes passes. Values of other types are not equal."""
        held = attributes.get(self.key)
        if self.type in {"in", "nin"}:
            wanted = self.value if isinstance(self.value, list) else [self.value]
            return any(_same(held, one) for one in wanted) == (self.type == "in")
        if self.type in {"eq", "ne"}:
            return _same(held, self.value) == (self.type == "eq")
        if not (_is_number(held) and _is_number(self.value)) and not (
            isinstance(held, str) and isinstance(self.value, str)
        ):
            return False
        return _ORDER[self.type](held, self.value)


class Compound(_Filter):
    """All of several filters, or any of them."""

    type: Literal["and", "or"]
    filters: Annotated[list["Filter"], Field(min_length=1, max_length=32)]

    def allows(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a file with these attributes passes."""
        passed = (one.allows(attributes) for one in self.filters)
        return all(passed) if self.type == "and" else any(passed)


Filter = Annotated[Comparison | Compound, Field(discriminator="type")]

Compound.model_rebuild()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(held: object, wanted: object) -> bool:
    return isinstance(held, bool) == isinstance(wanted, bool) and held == wanted
