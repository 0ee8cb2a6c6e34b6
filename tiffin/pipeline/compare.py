"""Whether the semantic cache would give one question's answer to another one: nothing is written.

`POST /v1/cache/compare` asks it, for `tiffin cache calibrate`.
"""

import asyncio

from tiffin.core.context import RequestContext
from tiffin.core.values import RagRequest, Value
from tiffin.grounding import alike
from tiffin.grounding.same import (
    LEAST_COSINE,
    Asked,
    Kept,
    Reason,
    compared,
    exact_differences,
    worth_of,
)
from tiffin.pipeline.question import Question
from tiffin.pipeline.rag import RagPipeline


class Compared(Value):
    """What speaks against it, and how likely one answer fits both.

    `similarity` is the cosine of the questions' embeddings. `probability` is None if a guard tells
    the questions apart, or the reranker is none that the head was made for.
    """

    similarity: float | None
    differences: list[Reason]
    probability: float | None
    rerank_tokens: int
    embedding_tokens: int


async def compare(
    pipeline: RagPipeline, kept: RagRequest, new: RagRequest, answer: str, context: RequestContext
) -> Compared:
    """Retrieve for both questions, and compare them as the `recall` stage does.

    `answer` is the kept one; without it, the best sentence supports whatever it was.
    """
    first, second = await asyncio.gather(
        *(pipeline.found(request, context) for request in (kept, new))
    )
    cosine = _cosine(first, second)
    found, probability = _judged(first, second, answer, cosine)
    return Compared(
        similarity=None if cosine is None else round(cosine, 4),
        differences=found,
        probability=probability,
        rerank_tokens=first.rerank_tokens + second.rerank_tokens,
        embedding_tokens=first.embedding_tokens + second.embedding_tokens,
    )


def _judged(
    first: Question, second: Question, answer: str, cosine: float | None
) -> tuple[list[Reason], float | None]:
    if first.is_refused or second.is_refused or not (first.evidence and second.evidence):
        return ["evidence"], None
    sentences = [one.sentence for one in first.evidence]
    support = [one for one in sentences if answer and answer.casefold() in one.casefold()][:1]
    kept = Kept(
        first.request.query,
        tuple(sentences),
        worth_of(first.evidence[0]),
        tuple(support or sentences[:1]),
        answer,
    )
    evidence = tuple(one.sentence for one in second.evidence)
    new = Asked(second.request.query, evidence, worth_of(second.evidence[0]))
    found = exact_differences(kept, new)
    if cosine is None or cosine < LEAST_COSINE:
        return [*found, "scope"], None
    if found or kept.worth is None or new.worth is None:
        return found, None
    return found, round(alike.shipped().probability(compared(kept, new, cosine)), 4)


def _cosine(first: Question, second: Question) -> float | None:
    if first.vectors is None or second.vectors is None:
        return None
    return float(first.vectors[0] @ second.vectors[0])
