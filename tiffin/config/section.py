"""The base class of every group of settings, and the error for a wrong setting."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]


class SettingsError(Exception):
    """A setting is invalid; the message is one line for the operator."""


class Section(BaseModel):
    """A group of settings: immutable, and an unknown key is an error.

    The text below a setting is its description.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
