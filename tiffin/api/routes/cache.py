"""`/v1/cache`: what is kept for the caller's tenant, and how to be rid of it."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from tiffin.api.bodies import JSON, JsonRoute, model_answer
from tiffin.api.queries import described, query_of
from tiffin.cache.upkeep import Item, Upkeep
from tiffin.core.errors import NotFound
from tiffin.core.values import QUOTE, Document, Items, RagRequest, Value
from tiffin.gateway import work_of
from tiffin.pipeline.compare import Compared

router = APIRouter(tags=["cache"], route_class=JsonRoute)


class CacheStats(BaseModel):
    """What is kept for the caller's tenant."""

    exact: Annotated[int, Field(description="Answers for the very same request.")]
    semantic: Annotated[int, Field(description="Answers for a question in other words.")]
    bytes: int
    usd: Annotated[float, Field(description="What they cost: each hit saves that once more.")]
    seconds: float


class Removed(BaseModel):
    """How many answers were removed."""

    removed: int


class Feedback(Value):
    """A kept answer that was wrong for the question that it was given to."""

    id: Annotated[str, Field(description="The header `x-tiffin-cache-id` of the answer.")]


@router.get("/v1/cache", response_model=CacheStats)
async def stats(http: Request) -> Response:
    """How much is kept for your tenant."""
    found = [item async for item in _upkeep(http).items()]
    semantic = sum(item.kind == "scope" for item in found)
    return model_answer(
        CacheStats(
            exact=len(found) - semantic,
            semantic=semantic,
            bytes=sum(item.bytes for item in found),
            usd=sum(item.usd for item in found),
            seconds=round(sum(item.seconds for item in found), 3),
        )
    )


@router.get("/v1/cache/{name}")
async def inspect(name: str, http: Request) -> Response:
    """One kept answer, by the id that `x-tiffin-cache-id` names."""
    item = await _upkeep(http).find(name)
    if item is None:
        raise _unknown(name)
    return Response(msgspec.json.encode(item), media_type=JSON)


Named = Annotated[str, Field(min_length=1)]


class Unwanted(Value):
    """Which answers to remove: those for which all that is named holds."""

    tier: Annotated[Named | None, Field(description="It wrote them.")] = None
    model: Annotated[Named | None, Field(description="It wrote them.")] = None
    document: Annotated[Named | None, Field(description="Its id: they cite it.")] = None
    corpus: Annotated[Named | None, Field(description="Its id or name: they are over it.")] = None
    prefix: Annotated[Named | None, Field(description="So begins what was asked.")] = None

    def holds(self, item: Item) -> bool:
        """Whether the answer is one of them."""
        wanted = {"tier": self.tier, "model": self.model}
        same = all(getattr(item, name) == said for name, said in wanted.items() if said is not None)
        over = self.corpus is None or self.corpus in item.corpora
        cites = self.document is None or self.document in item.documents
        return same and over and cites and item.question.startswith(self.prefix or "")


@router.delete("/v1/cache", response_model=Removed, openapi_extra=described(Unwanted))
async def clear(http: Request) -> Response:
    """Remove all answers of your tenant, or those that the parameters name."""
    upkeep, unwanted = _upkeep(http), query_of(http, Unwanted)
    if unwanted == Unwanted():
        return model_answer(Removed(removed=await upkeep.clear()))
    if unwanted.corpus is not None:
        gateway, context = work_of(http)
        store = gateway.corpora.store
        corpus = await store.ask(store.corpus_of, context.tenant, unwanted.corpus)
        unwanted = unwanted.model_copy(update={"corpus": corpus.id})
    return model_answer(Removed(removed=await upkeep.remove(unwanted.holds)))


@router.delete("/v1/cache/{name}", response_model=Removed)
async def forget(name: str, http: Request) -> Response:
    """Remove one kept answer."""
    return await _forget(name, http)


@router.post("/v1/cache/feedback", response_model=Removed)
async def feedback(body: Feedback, http: Request) -> Response:
    """Report that a kept answer was wrong. It is removed at once, on every replica."""
    return await _forget(body.id, http)


class Comparison(Value):
    """Two questions over the same documents, and the answer that the first one got."""

    kept: Annotated[str, Field(min_length=1, description="It was asked before.")]
    new: Annotated[str, Field(min_length=1, description="It is asked now.")]
    documents: Annotated[
        Items[str | Document],
        Field(default_factory=list, description="What both are asked of, as in `/rag_query`."),
    ]
    corpus: Annotated[Named | None, Field(description="Or the corpus that both are asked of.")] = (
        None
    )
    answer: Annotated[str, Field(description="To the first; without it, its evidence.")] = ""


@router.post("/v1/cache/compare", response_model=Compared)
async def compare(body: Comparison, http: Request) -> Response:
    """Say whether the semantic cache would give the first question's answer to the second one.

    No model writes, and nothing is kept.
    """
    gateway, context = work_of(http)
    kept, new = (
        RagRequest(query=text, documents=body.documents, corpus=body.corpus, model=QUOTE)
        for text in (body.kept, body.new)
    )
    return model_answer(await gateway.compare(kept, new, body.answer, context))


async def _forget(name: str, http: Request) -> Response:
    if not await _upkeep(http).remove_one(name):
        raise _unknown(name)
    return model_answer(Removed(removed=1))


def _upkeep(http: Request) -> Upkeep:
    gateway, context = work_of(http)
    return Upkeep(gateway.store, context.tenant, gateway.settings.cache.ttl_s)


def _unknown(name: str) -> NotFound:
    return NotFound(f"id: no kept answer {name[:60]!r}; it may have been removed", param="id")
