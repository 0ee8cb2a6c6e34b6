"""`/v1/moderations`: whether texts are abusive or attack the model, in OpenAI's shape."""

import secrets
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_inputs, check_model
from tiffin.api.moderation import result_of
from tiffin.api.schemas.moderations import (
    ALIASES,
    MODEL,
    Moderation,
    ModerationBody,
    TextPart,
)
from tiffin.core.errors import NotFound
from tiffin.core.text import estimate_tokens
from tiffin.gateway import work_of
from tiffin.traffic.admission import EMBED
from tiffin.traffic.quota import charge

router = APIRouter(tags=["openai"], route_class=JsonRoute)


@router.post("/v1/moderations", response_model=Moderation)
async def moderations(body: ModerationBody, http: Request) -> Response:
    """Check texts for abuse and for attacks on the model."""
    gateway, context = work_of(http)
    if gateway.guard is None:
        message = "/v1/moderations: safety is off; TIFFIN_SAFETY__ENABLED turns it on"
        raise NotFound(message, code="safety_off")
    if body.model not in ALIASES:
        check_model(body.model, MODEL)
    texts = _texts(body.input)
    check_inputs(texts, gateway.settings.limits, "input")
    async with gateway.admission.place(context, EMBED):
        found = await gateway.guard.check(texts, ("injection", "toxicity"), context)
    charge(estimate_tokens(sum(map(len, texts))))
    return model_answer(
        Moderation(
            id=f"modr-{secrets.token_hex(16)}", model=MODEL, results=list(map(result_of, found))
        )
    )


def _texts(given: str | Sequence[str] | Sequence[TextPart]) -> list[str]:
    """The inputs; parts are one input together."""
    if isinstance(given, str):
        return [given]
    texts = [item for item in given if isinstance(item, str)]
    return texts or ["\n".join(part.text for part in given if isinstance(part, TextPart))]
