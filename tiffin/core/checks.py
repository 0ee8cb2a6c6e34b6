"""The checks of safety that a request has had, as its context holds them and its answer shows."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Part = Literal["input", "passages", "output"]
PARTS: tuple[Part, ...] = ("input", "passages", "output")
Outcome = Literal["clean", "flagged", "ran", "not_run"]


class CheckRun(BaseModel):
    """A check of safety, what it found, and what the policy does about a finding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: Part
    check: str
    outcome: Annotated[
        Outcome,
        Field(description="`ran`: what it found is only logged; `not_run`: Safety is away."),
    ]
    action: Annotated[str, Field(description="`log`, `mark`, `redact` or `block`.")]

    def __str__(self) -> str:
        return f"{self.part}:{self.check}={self.outcome}"
