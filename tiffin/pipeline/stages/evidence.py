"""Evidence: the sentences that answer, and how likely it is that there is an answer at all.

The sentences of the best passages are scored once more, all by the reranker and then the best by
the embedder, in one bounded call each. A small trained head reads those scores and what question
and text have in common (docs/answers.md). What it calls unanswered is refused without asking a
model.

In a language that the reranker does not read, the sentences are quoted that the embedder takes for
closest, if it reads the language, or else those that share words with the question. Nothing is
refused then, and nothing is written in a language that the LLMs do not read.
"""

from collections.abc import Sequence
from dataclasses import replace

from tiffin.cache.relevance import Reranks
from tiffin.cache.vectors import Embeds
from tiffin.core.context import RequestContext
from tiffin.core.names import AUTO
from tiffin.core.values import Contradiction
from tiffin.grounding.answerable import WITHOUT_READINGS, Head, features
from tiffin.grounding.evidence import (
    Candidate,
    Said,
    candidates,
    evidence,
    leading,
    without,
)
from tiffin.grounding.foreign import unread
from tiffin.grounding.language import Readers, reads
from tiffin.grounding.quote import contradictions
from tiffin.pipeline.lexical import lexical_evidence
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage
from tiffin.safety.policy import NOTHING_CHECKED, Judges


class Evidence(Stage):
    """Without it, sentences are found by their words, and no question is refused."""

    name = "evidence"
    degraded = "evidence"

    def __init__(
        self,
        embedding: Embeds,
        reranker: Reranks,
        budget_ms: float,
        readers: Readers,
        *,
        scale: tuple[float, float] = (1.0, 0.0),
        judges: Judges = NOTHING_CHECKED,
    ) -> None:
        """`scale` is that of the embedder's cosines (`tiffin.grounding.evidence.SCALES`).

        `judges` say which sentences give orders to the model.
        """
        super().__init__(budget_ms)
        self._judges = judges
        self._slope, self._shift = scale
        self._readers = readers
        self._embedding = embedding
        self._reranker = reranker
        self._head, self._without_readings = Head.load(), Head.load(WITHOUT_READINGS)

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write `evidence`, `contradictions`, `probability` and what is the least of it."""
        unwanted = question.grounding == "off" and not question.is_quoted
        if unwanted or not question.candidates:
            return
        query, (asked, told) = question.request.query, question.languages()
        known = reads(self._readers.reranker, asked, told)
        if not known:
            question.degraded.append("language")
            if question.request.model == AUTO and not reads(self._readers.llms, asked, told):
                question.prefer = "quote"
        if question.vectors is not None and self._readers.only_embedder(asked, told):
            await self._by_meaning(question, told, context)
            return
        # The reranker is away and would not answer here either, or words can still be compared.
        if question.logits is None or (not known and asked == told):
            self.substitute(question)
            return
        if known:
            _leave_out_unread(question, self._readers.reranker)
        passages = question.as_passages(question.logits)
        found = without(question.orders(), candidates(query, passages, language=told))
        if found:
            found, said = await self._score(question, found, context, readings=known)
        if not found:
            self._find_nothing(question)
            return
        question.evidence = evidence(query, found, said)
        question.contradictions = _contradictions(question)
        head = self._without_readings if said.readings is None else self._head
        probability = head.probability(features(query, passages, found, said))
        question.judge(probability, head.threshold(question.false_refusals))

    async def _score(
        self,
        question: Question,
        found: Sequence[Candidate],
        context: RequestContext,
        *,
        readings: bool,
    ) -> tuple[list[Candidate], Said]:
        """The candidates that lead, and what both models say of them, with or without readings."""
        query, texts = question.request.query, [item.text for item in found]
        read = await self._reranker.read(query, texts, context)
        row = read.readings if readings else None
        said = Said(read.logits.tolist(), None if row is None else row.tolist())
        kept, said = leading(found, said)
        judge, judged = self._judges.of(context.tenant), [item.window for item in kept]
        if judge is not None:  # a sentence is also judged without the one before it
            judged += [item.text for item in kept if item.before]
        vectors, embedded = await self._embedding.embed([query, *judged], context)
        question.rerank_tokens += read.tokens
        question.embedding_tokens += embedded
        cosines = self._slope * (vectors[1 : len(kept) + 1] @ vectors[0]) + self._shift
        orders = set[str]()
        if judge is not None:
            orders = await judge.orders(judged, vectors[1:], context)
        chosen = [n for n, it in enumerate(kept) if orders.isdisjoint((it.window, it.text))]
        said = replace(said.of(chosen), cosines=cosines[chosen].tolist())
        return [kept[n] for n in chosen], said

    def _find_nothing(self, question: Question) -> None:
        """There is no sentence, or each gives orders to the model: the question is refused."""
        question.probability = 0.0
        question.least_probability = self._head.threshold(question.false_refusals)

    async def _by_meaning(self, question: Question, told: str, context: RequestContext) -> None:
        """Take the sentences whose embeddings are closest to the question's."""
        query = question.request.query
        passages = question.as_passages([one.similarity for one in question.candidates])
        found = without(question.orders(), candidates(query, passages, language=told))
        if not found:
            self._find_nothing(question)
            return
        texts = [query, *(item.text for item in found)]
        vectors, embedded = await self._embedding.embed(texts, context)
        question.embedding_tokens += embedded
        said = Said([0.0] * len(found), cosines=(vectors[1:] @ vectors[0]).tolist())
        question.evidence = evidence(query, found, said)

    def substitute(self, question: Question) -> None:
        """Take the sentences that share most words with the question."""
        question.evidence = lexical_evidence(question)


def _leave_out_unread(question: Question, languages: frozenset[str]) -> None:
    """A sentence in another language than its passage's is no evidence, and no model reads it."""
    question.candidates = [
        replace(one, orders=(*one.orders, *unread(one.passage.text, languages)))
        for one in question.candidates
    ]


def _contradictions(question: Question) -> list[Contradiction]:
    return [
        Contradiction(
            sources=(
                question.source_of(one.passage.index).index,
                question.source_of(other.passage.index).index,
            ),
            quotes=(one.text, other.text),
        )
        for one, other in contradictions(question.evidence)
    ]
