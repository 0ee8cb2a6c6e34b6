"""The base of every group of settings, and the error that a wrong setting ends in."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]


class SettingsError(Exception):
    """A setting that cannot be; the message is one line for the operator."""


class Section(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
