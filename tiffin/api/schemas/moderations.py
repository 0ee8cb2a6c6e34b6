"""The body and answer of `/v1/moderations`, as OpenAI publishes them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tiffin.core.values import Items, Value

MODEL = "tiffin-safety"
ALIASES = frozenset({MODEL, "omni-moderation-latest", "text-moderation-latest"})
"""Names that clients send by default stand for our own checks; the answer names these."""

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""OpenAI's. Of those that no check of ours covers, `category_applied_input_types` is empty."""

HEADS = {"harassment": "offensive", "hate": "hate", "injection": "injection"}
"""The categories that are checked, by the heads that do it; `injection` is our own."""


class TextPart(Value):
    """A part of one input."""

    type: Literal["text"]
    text: str


class ModerationBody(Value):
    """Texts to check: one, several, or the parts of one."""

    input: Annotated[
        str | Items[str] | Items[TextPart],
        Field(description="A text, texts, or the text parts of one input. Images are not read."),
    ]
    model: Annotated[str | None, Field(description=f"`{MODEL}`, or OpenAI's name for its own.")] = (
        None
    )


class ModerationResult(BaseModel):
    """What was found in one input."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: Annotated[
        dict[str, list[Literal["text"]]], Field(description="Empty for what is not checked.")
    ]


class Moderation(BaseModel):
    """One result for each input."""

    id: str
    model: str
    results: list[ModerationResult]
