"""`/v1/models`: every name that a client may write into `model`, and what it is for."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from tiffin.core.errors import NotFound
from tiffin.core.values import Value
from tiffin.gateway import Gateway, gateway_of

router = APIRouter(tags=["models"])

_STARTED = int(time.time())


class ModelCard(Value):
    """One name. A virtual model or a tier stands for whichever model it leads to."""

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="When this server started, in Unix seconds.")]
    owned_by: str = "tiffin"
    task: Literal["chat", "embedding", "rerank"]


class ModelList(Value):
    """All names."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


@router.get("/v1/models/", include_in_schema=False)  # else the route below, with an empty name
@router.get("/v1/models")
async def list_models(http: Request) -> ModelList:
    """List the models, the tiers and the virtual models."""
    return ModelList(data=_cards(gateway_of(http)))


@router.get("/v1/models/{model:path}")
async def show_model(model: str, http: Request) -> ModelCard:
    """Show one of them."""
    for card in _cards(gateway_of(http)):
        if card.id == model:
            return card
    message = f"model: {model!r} is not served here; GET /v1/models lists what is"
    raise NotFound(message, param="model", code="model_not_found")


def _cards(gateway: Gateway) -> list[ModelCard]:
    tiers = gateway.models
    settings = gateway.settings
    chat = dict.fromkeys(
        [*settings.routing.policies, *tiers, *tiers.values(), *settings.adapters()]
    )
    return [
        *(ModelCard(id=name, created=_STARTED, task="chat") for name in chat),
        ModelCard(id=settings.embedding.model, created=_STARTED, task="embedding"),
        ModelCard(id=settings.reranker.model, created=_STARTED, task="rerank"),
    ]
