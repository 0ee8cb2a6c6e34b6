"""The field `moderation` of chats and responses, asked and answered, as OpenAI publishes it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from tiffin.api.schemas.moderations import ALIASES, MODEL, ModerationResult
from tiffin.core.checks import Part
from tiffin.core.values import Value


def _known(model: str) -> str:
    if model not in ALIASES:
        raise ValueError(f"must be one of {', '.join(sorted(ALIASES))}")
    return model


class PartPolicy(Value):
    """What follows if a part is flagged."""

    mode: Literal["score", "block"]


class ModerationPolicy(Value):
    """A part that is not named is only scored."""

    input: PartPolicy | None = None
    output: PartPolicy | None = None


class ModerationField(Value):
    """By whom input and output are scored, and which of them is refused if it is flagged."""

    model: Annotated[str, AfterValidator(_known)]
    policy: ModerationPolicy | None = None

    def blocks(self) -> frozenset[Part]:
        """The parts that are refused if they are flagged."""
        policy = self.policy or ModerationPolicy()
        named: dict[Part, PartPolicy | None] = {"input": policy.input, "output": policy.output}
        return frozenset(part for part, its in named.items() if its and its.mode == "block")


class FieldResult(ModerationResult):
    """What was found in a part."""

    model: str = MODEL
    type: Literal["moderation_result"] = "moderation_result"


class FieldError(BaseModel):
    """Why a part was not scored."""

    type: Literal["error"] = "error"
    code: str
    message: str


class FieldResults(BaseModel):
    """One result: all turns that were checked, or all choices, together."""

    type: Literal["moderation_results"] = "moderation_results"
    model: str = MODEL
    results: list[FieldResult]


class ChatModeration(BaseModel):
    """Of a chat."""

    input: FieldResults | FieldError
    output: FieldResults | FieldError


class ResponseModeration(BaseModel):
    """Of a response."""

    input: FieldResult | FieldError
    output: FieldResult | FieldError
