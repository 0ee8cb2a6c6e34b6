"""Whether the semantic cache would give one question's answer to another one: nothing is written.

`POST /v1/cache/compare` asks it, for `tiffin cache calibrate`.
"""

import asyncio

from tiffin.core.context import RequestContext
from tiffin.core.values import RagRequest, Value
from tiffin.grounding import alike
from tiffin.grounding.alike import Nearness
from tiffin.grounding.same import (
    LEAST_COSINE,
    Kept,
    Reason,
    compared,
    exact_differences,
    is_one,
    repeats,
    worth_of,
)
from tiffin.pipeline.likeness import Likeness, Two
from tiffin.pipeline.question import Question
from tiffin.pipeline.rag import RagPipeline


class Compared(Value):
    """What speaks against it, and how likely one answer fits both.

    `similarity` is the cosine of the questions' embeddings. `probability` is None if a guard tells
    the questions apart, or the reranker is none that the head was made for. `confirmed` says that
    it holds what the tier of `cache.confirm` leans to, so that the thresholds are others.
    """

    similarity: float
    differences: list[Reason]
    probability: float | None
    confirmed: bool
    rerank_tokens: int
    embedding_tokens: int


async def compare(
    pipeline: RagPipeline,
    likeness: Likeness,
    kept: RagRequest,
    new: RagRequest,
    *,
    answer: str,
    context: RequestContext,
) -> Compared:
    """Retrieve for both questions, and compare them as the `recall` stage does.

    `answer` is the kept one; without it, the best sentence supports whatever it was.
    """
    first, second = await asyncio.gather(
        *(pipeline.found(request, context) for request in (kept, new))
    )
    near, found, probability = Nearness(_cosine(first, second)), _told_apart(first, second), None
    if not found:
        before, now = _asked(first, answer), _asked(second, "")
        found = exact_differences(before, now)
        near = near if found else await likeness.near(Two(before, now, near.cosine), context)
        if before.worth and now.worth and near.paired is not None:
            head = alike.shipped(confirmed=near.leaning is not None)
            likely = head.probability(compared(before, now, near))
            probability = 1.0 if repeats(kept.query, new.query) else round(likely, 4)
        elif not found and not is_one(before, now, near, 1.0):
            found = ["scope"]
    return Compared(
        similarity=round(near.cosine, 4),
        differences=found,
        probability=probability,
        confirmed=near.leaning is not None,
        rerank_tokens=first.rerank_tokens + second.rerank_tokens,
        embedding_tokens=first.embedding_tokens + second.embedding_tokens,
    )


def _told_apart(first: Question, second: Question) -> list[Reason]:
    """What tells them apart before they are compared."""
    if first.is_refused or second.is_refused or not (first.evidence and second.evidence):
        return ["evidence"]
    return ["scope"] if _cosine(first, second) < LEAST_COSINE else []


def _asked(question: Question, answer: str) -> Kept:
    sentences = [one.sentence for one in question.evidence]
    support = [one for one in sentences if answer and answer.casefold() in one.casefold()][:1]
    return Kept(
        question.request.query,
        tuple(sentences),
        worth_of(question.evidence[0]),
        tuple(support or sentences[:1]),
        answer,
    )


def _cosine(first: Question, second: Question) -> float:
    """Of their embeddings; 0 if one has none."""
    if first.vectors is None or second.vectors is None:
        return 0.0
    return float(first.vectors[0] @ second.vectors[0])
