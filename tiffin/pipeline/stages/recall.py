"""Recall: a kept answer for a question in other words, from what `remember` has kept.

A kept answer is given to a question in other words if the sentences that support it are evidence
of the new question too, and nothing in the wording speaks against it (`tiffin.grounding.same`).
Of those that would be given, a share is written anew instead, for `remember` to compare with.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from pydantic import ValidationError

from tiffin.cache.control import Control, control_of
from tiffin.cache.keys import scope_key
from tiffin.cache.remembered import Remembered, decode
from tiffin.cache.reports import allowed, reported
from tiffin.cache.store import Store
from tiffin.core.context import CacheUse, RequestContext
from tiffin.corpus.entities import states_of
from tiffin.grounding.same import (
    LEAST_COSINE,
    Asked,
    Kept,
    exact_differences,
    worth_of,
)
from tiffin.pipeline.likeness import Likeness, Two, Verdict
from tiffin.pipeline.question import Question, Recalled, Vector
from tiffin.pipeline.stage import Stage
from tiffin.telemetry import metrics

COMPARED = 4
"""Near questions that are looked at. Each costs half a millisecond."""


@dataclass(frozen=True)
class Memory:
    """Where questions are kept, what the installation answers with, and for how long they count.

    `wrong_hits` is the share of wrong hits that is allowed, `checked_share` that of hits which are
    written anew to see whether the kept answer fits.
    """

    store: Store
    mark: bytes
    ttl_s: float
    wrong_hits: float
    checked_share: float = 0.0


class Recall(Stage):
    """Runs when the evidence is there. If it finds nothing, a model writes."""

    name = "recall"
    degraded = "recall"

    def __init__(self, memory: Memory, likeness: Likeness, budget_ms: float) -> None:
        super().__init__(budget_ms)
        self._memory = memory
        self._likeness = likeness

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write `recalled` if there is an answer that may be given again."""
        vector, control = may_share(question), wish_of(question)
        if vector is None or control.off or question.is_refused:
            return
        found = await self._memory.store.get(key_of(self._memory, question))
        question.generation = found.generation
        most_s = self._memory.ttl_s
        if control.max_age_s is not None:
            most_s = min(most_s, control.max_age_s)
        near = nearest(found.value, vector, most_s) if control.read else iter(())
        if hit := await self._first(question, near, context):
            kept, cosine, answer = hit
            if random.random() < self._memory.checked_share:  # noqa: S311  not a secret
                question.doubted = kept
            else:
                question.recalled = answer
                _tell_hit(kept, cosine, context)
        else:
            metrics.series(metrics.cache_total, "semantic", "miss").inc()

    async def _first(
        self,
        question: Question,
        near: Iterator[tuple[Remembered, float]],
        context: RequestContext,
    ) -> tuple[Remembered, float, Recalled] | None:
        """The first of the near questions whose answer may be given, its cosine, and the answer.

        A tier is asked about one of them at most.
        """
        new, memory, wrong_hits = _asked(question), self._memory, None
        whole = replace(context, deadline=question.context.deadline)
        for remembered, cosine in near:
            kept, verdict = _kept(remembered), Verdict(fits=False)
            reasons = exact_differences(kept, new)
            if not reasons:
                if wrong_hits is None:
                    reports = await reported(memory.store, key_of(memory, question))
                    wrong_hits = allowed(memory.wrong_hits, reports)
                two = Two(kept, new, cosine)
                verdict = await self._likeness.judge(two, wrong_hits, whole, context.deadline)
                if not verdict.fits:
                    reasons = ["scope"]
                elif recalled := _read(remembered):
                    return remembered, cosine, recalled
            for reason in reasons:
                metrics.series(metrics.cache_refusals_total, reason).inc()
            if verdict.asked:
                break
        return None


def key_of(memory: Memory, question: Question) -> str:
    """The key of the questions to which the same answers may be given."""
    state = states_of(question.corpora)
    return scope_key(memory.mark, question.context.tenant, question.request, state)


def may_share(question: Question) -> Vector | None:
    """The question's embedding, if a model is to answer it and its evidence was judged."""
    if question.is_quoted or not question.evidence or question.vectors is None:
        return None
    vector: Vector = question.vectors[0]
    return None if question.probability is None else vector


def wish_of(question: Question) -> Control:
    """What the client wants of the cache."""
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
    return Asked(question.request.query, evidence(question), worth_of(best))


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


def evidence(question: Question) -> tuple[str, ...]:
    """The sentences that answer, best first."""
    return tuple(one.sentence for one in question.evidence)
