"""What the checks said in OpenAI's words, for `/v1/moderations` and the field `moderation`."""

from tiffin.api.schemas.moderation_field import (
    ChatModeration,
    FieldError,
    FieldResult,
    FieldResults,
    ResponseModeration,
)
from tiffin.api.schemas.moderations import CATEGORIES, HEADS, ModerationResult
from tiffin.core.errors import TiffinError
from tiffin.core.messages import Checked

Said = tuple[Checked | TiffinError, Checked | TiffinError]
"""What the checks said of the input and of the output, or why they did not."""


def result_of(checked: Checked) -> ModerationResult:
    """What the checks said, under OpenAI's names."""
    found = {finding.kind for finding in checked.findings}
    moderated = [name for name in checked.scores if name not in HEADS.values()]
    names = dict.fromkeys((*CATEGORIES, *HEADS, *moderated))
    read = {*HEADS, *moderated}
    categories = {name: HEADS.get(name, name) in found for name in names}
    return ModerationResult(
        flagged=any(categories.values()),
        categories=categories,
        category_scores={
            name: round(checked.scores.get(HEADS.get(name, name), 0.0), 6) for name in names
        },
        category_applied_input_types={name: ["text"] if name in read else [] for name in names},
    )


def of_chat(said: Said) -> ChatModeration:
    """The results of a chat that has ended."""
    sides = [
        one if isinstance(one, FieldError) else FieldResults(results=[one])
        for one in map(_result, said)
    ]
    return ChatModeration(input=sides[0], output=sides[1])


def of_response(said: Said) -> ResponseModeration:
    """The results of a response that has ended."""
    return ResponseModeration(input=_result(said[0]), output=_result(said[1]))


def _result(said: Checked | TiffinError) -> FieldResult | FieldError:
    if isinstance(said, TiffinError):
        return FieldError(code="safety_unavailable", message=said.message)
    return FieldResult(**result_of(said).model_dump())
