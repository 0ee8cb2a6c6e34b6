"""Recall and Remember: the semantic cache of questions that a model answers.

A kept answer is given to a question in other words if the sentences that support it are evidence
of the new question too, and nothing in the wording speaks against it (`tiffin.grounding.same`).
What is quoted is not kept: to quote again costs no model.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from tiffin.cache.control import Control, control_of
from tiffin.cache.keys import scope_key
from tiffin.cache.remembered import Remembered, decode, encode
from tiffin.cache.reports import allowed, reported
from tiffin.cache.store import Store
from tiffin.clients import RerankerClient
from tiffin.core.context import CacheUse, RequestContext
from tiffin.core.errors import RECOVERABLE
from tiffin.core.messages import Array
from tiffin.core.values import QUOTE
from tiffin.corpus.entities import states_of
from tiffin.grounding.alike import Nearness
from tiffin.grounding.same import (
    LEAST_COSINE,
    Asked,
    Kept,
    exact_differences,
    is_one,
    worth_of,
)
from tiffin.pipeline.question import Question, Recalled, Vector
from tiffin.pipeline.stage import Stage
from tiffin.telemetry import metrics

COMPARED = 4
"""Near questions that are looked at. Each costs half a millisecond."""


@dataclass(frozen=True)
class Memory:
    """Where questions are kept, what the installation answers with, and for how long they count.

    `wrong_hits` is the share of wrong hits that is allowed.
    """

    store: Store
    mark: bytes
    ttl_s: float
    wrong_hits: float


class Recall(Stage):
    """Runs when the evidence is there. If it finds nothing, a model writes."""

    name = "recall"
    degraded = "recall"

    def __init__(self, memory: Memory, reranker: RerankerClient | None) -> None:
        """Without a reranker, or with one that does not tell, the rules alone decide."""
        super().__init__(0)
        self._memory = memory
        self._reranker = reranker

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write `recalled` if there is an answer that may be given again."""
        vector, control = _may_share(question), _control(question)
        if vector is None or control.off or question.is_refused:
            return
        found = await self._memory.store.get(_key(self._memory, question))
        question.generation = found.generation
        most_s = self._memory.ttl_s
        if control.max_age_s is not None:
            most_s = min(most_s, control.max_age_s)
        near = nearest(found.value, vector, most_s) if control.read else iter(())
        if hit := await self._first(question, near, context):
            kept, cosine, question.recalled = hit
            _tell_hit(kept, cosine, context)
        else:
            metrics.series(metrics.cache_total, "semantic", "miss").inc()

    async def _first(
        self,
        question: Question,
        near: Iterator[tuple[Remembered, float]],
        context: RequestContext,
    ) -> tuple[Remembered, float, Recalled] | None:
        """The first of the near questions whose answer may be given, its cosine, and the answer."""
        new, memory, wrong_hits = _asked(question), self._memory, None
        for remembered, cosine in near:
            kept = _kept(remembered)
            reasons = exact_differences(kept, new)
            if not reasons:
                if wrong_hits is None:
                    reports = await reported(memory.store, _key(memory, question))
                    wrong_hits = allowed(memory.wrong_hits, reports)
                if not await self._is_one(kept, new, cosine, wrong_hits, context):
                    reasons = ["scope"]
                elif recalled := _read(remembered):
                    return remembered, cosine, recalled
            for reason in reasons:
                metrics.series(metrics.cache_refusals_total, reason).inc()
        return None

    async def _is_one(
        self, kept: Kept, new: Asked, cosine: float, wrong_hits: float, context: RequestContext
    ) -> bool:
        """Whether the head agrees. If the reranker fails or is late, that is a miss."""
        try:
            paired = await paired_of(self._reranker, kept.question, new.question, context)
        except RECOVERABLE:
            return False
        return is_one(kept, new, Nearness(cosine, paired), wrong_hits)


class Remember(Stage):
    """Runs last, when the answer has its citations."""

    name = "remember"
    degraded = "remember"

    def __init__(self, memory: Memory) -> None:
        super().__init__(0)
        self._memory = memory

    async def run(self, question: Question, _: RequestContext) -> None:
        """Keep an answer that a model wrote whole, and that its evidence supports.

        It is not kept if the tenant's answers were cleared since Recall looked.
        """
        vector, draft, memory = _may_share(question), question.draft, self._memory
        written = draft.route.tier != QUOTE and draft.finish_reason == "stop"
        sound = question.answered and not question.degraded and question.recalled is None
        if vector is None or not (written and sound and _control(question).write):
            return
        if support := _support(question):
            key, oldest = _key(memory, question), time.time() - memory.ttl_s
            kept = decode((await memory.store.get(key)).value)
            kept = [one for one in kept if one.created > oldest]
            kept.append(_remembered(question, vector, support, key))
            await memory.store.put(key, encode(kept), memory.ttl_s, question.generation)


async def paired_of(
    reranker: RerankerClient | None, one: str, other: str, context: RequestContext
) -> float | None:
    """Whether two questions are one, in logits; None if there is nobody to ask."""
    return None if reranker is None else await reranker.paired(one, other, context)


def _key(memory: Memory, question: Question) -> str:
    state = states_of(question.corpora)
    return scope_key(memory.mark, question.context.tenant, question.request, state)


def _may_share(question: Question) -> Vector | None:
    """The question's embedding, if a model is to answer it and its evidence was judged."""
    if question.is_quoted or not question.evidence or question.vectors is None:
        return None
    vector: Vector = question.vectors[0]
    return None if question.probability is None else vector


def _control(question: Question) -> Control:
    request = question.request
    return control_of(
        question.context.cache_control,
        wanted=request.cache,
        deterministic=request.temperature == 0 or request.seed is not None,
    )


def nearest(
    stored: bytes | None, vector: Vector, most_s: float
) -> Iterator[tuple[Remembered, float]]:
    """The kept questions that are near enough, the nearest first, none older than `most_s`."""
    now = time.time()
    kept = [
        one
        for one in decode(stored)
        if one.vector.holds(vector.shape) and now - one.created <= most_s
    ]
    cosines = [float(one.vector.numpy() @ vector) for one in kept]
    for at in np.argsort(cosines)[::-1][:COMPARED]:
        if cosines[at] < LEAST_COSINE:
            return
        yield kept[at], cosines[at]


def _kept(one: Remembered) -> Kept:
    return Kept(one.question, one.evidence, worth_of(one), one.support, one.text)


def _asked(question: Question) -> Asked:
    best = question.evidence[0]
    return Asked(question.request.query, _evidence(question), worth_of(best))


def _read(kept: Remembered) -> Recalled | None:
    try:
        return Recalled.model_validate_json(kept.answer)
    except ValidationError:
        return None


def _tell_hit(kept: Remembered, cosine: float, context: RequestContext) -> None:
    metrics.series(metrics.cache_total, "semantic", "hit").inc()
    metrics.cache_saved_usd_total.inc(kept.usd)
    metrics.cache_saved_seconds_total.inc(kept.seconds)
    age_s = max(0.0, time.time() - kept.created)
    context.bill.cache = CacheUse("semantic", kept.id, age_s, cosine, kept.tier)


def _evidence(question: Question) -> tuple[str, ...]:
    return tuple(one.sentence for one in question.evidence)


def _support(question: Question) -> tuple[str, ...]:
    """The sentences of the evidence that the answer's citations quote."""
    quotes = [citation.quote for citation in question.citations]
    return tuple(
        sentence
        for sentence in _evidence(question)
        if any(sentence in quote or quote in sentence for quote in quotes)
    )


def _remembered(
    question: Question, vector: Vector, support: tuple[str, ...], key: str
) -> Remembered:
    draft = question.draft
    answer = Recalled(
        text=draft.text,
        sources=question.sources,
        citations=question.citations,
        contradictions=question.contradictions,
        route=draft.route,
    )
    return Remembered(
        id=f"{key.rpartition(':')[2]}-{secrets.token_hex(4)}",
        question=question.request.query,
        vector=Array.of(vector),
        evidence=_evidence(question),
        logit=question.evidence[0].logit,
        reading=question.evidence[0].reading,
        support=support,
        text=draft.text,
        answer=answer.model_dump_json().encode(),
        tier=draft.route.tier,
        created=time.time(),
        usd=question.context.bill.usd,
        corpora=[corpus.id for corpus in question.corpora],
        seconds=question.timeline.timings().generate_ms / 1000,
    )
