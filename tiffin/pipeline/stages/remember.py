"""Remember: keeps a written answer for questions in other words, which `recall` gives again.

What is quoted is not kept: to quote again costs no model. If `recall` had an answer and wanted to
know whether it fits, the new one is compared with it, and a difference counts as a wrong answer
that was reported.
"""

import secrets
import time

from tiffin.cache.remembered import Remembered, decode, encode
from tiffin.cache.upkeep import Upkeep
from tiffin.core.context import RequestContext
from tiffin.core.messages import Array
from tiffin.core.values import QUOTE
from tiffin.grounding.same import agree
from tiffin.pipeline.question import Question, Recalled, Vector
from tiffin.pipeline.stage import Stage
from tiffin.pipeline.stages.recall import Memory, evidence, key_of, may_share, wish_of
from tiffin.telemetry import metrics


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
        vector, draft, memory = may_share(question), question.draft, self._memory
        written = draft.route.tier != QUOTE and draft.finish_reason == "stop"
        sound = question.answered and not question.degraded and question.recalled is None
        if question.doubted is not None and written and not question.degraded:
            await self._compare(question, question.doubted)
        if vector is None or not (written and sound and wish_of(question).write):
            return
        if support := _support(question):
            key, oldest = key_of(memory, question), time.time() - memory.ttl_s
            kept = decode((await memory.store.get(key)).value)
            kept = [one for one in kept if one.created > oldest]
            kept.append(_remembered(question, vector, support, key))
            await memory.store.put(key, encode(kept), memory.ttl_s, question.generation)

    async def _compare(self, question: Question, kept: Remembered) -> None:
        """Report the kept answer as wrong if the new one says something else."""
        alike = question.answered and (
            agree(kept.text, question.draft.text)
            and not set(kept.support).isdisjoint(_support(question))
        )
        metrics.series(metrics.cache_total, "semantic", "right" if alike else "wrong").inc()
        if not alike:
            upkeep = Upkeep(self._memory.store, question.context.tenant, self._memory.ttl_s)
            await upkeep.report(kept.id)


def _support(question: Question) -> tuple[str, ...]:
    """The sentences of the evidence that the answer's citations quote."""
    quotes = [citation.quote for citation in question.citations]
    return tuple(
        sentence
        for sentence in evidence(question)
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
        evidence=evidence(question),
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
