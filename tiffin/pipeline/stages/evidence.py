"""Evidence: the sentences that answer, and how likely it is that there is an answer at all.

The sentences of the best passages are scored once more, all by the reranker and then the best by
the embedder, in one bounded call each. A small trained head reads those scores and what question
and text have in common (docs/answers.md). What it calls unanswered is refused without asking a
model.

In a language that the models do not read, the sentences that share words with the question are
quoted, and nothing is written.
"""

from collections.abc import Sequence
from dataclasses import replace

from tiffin.cache.relevance import Reranks
from tiffin.cache.vectors import Embeds
from tiffin.core.context import RequestContext
from tiffin.core.names import AUTO
from tiffin.core.values import Contradiction
from tiffin.grounding.answerable import DECISIVE, WITHOUT_READINGS, Head, features
from tiffin.grounding.evidence import Candidate, Said, candidates, evidence, leading, without
from tiffin.grounding.language import language_of
from tiffin.grounding.quote import contradictions
from tiffin.pipeline.lexical import lexical_evidence
from tiffin.pipeline.question import Question
from tiffin.pipeline.stage import Stage


class Evidence(Stage):
    """Without it, sentences are found by their words, and no question is refused."""

    name = "evidence"
    degraded = "evidence"

    def __init__(
        self,
        embedding: Embeds,
        reranker: Reranks,
        budget_ms: float,
        *,
        scored: frozenset[str] = frozenset(),
        written: frozenset[str] = frozenset(),
    ) -> None:
        """`scored` and `written` are the languages that these models and the LLMs read.

        Empty means any.
        """
        super().__init__(budget_ms)
        self._scored = scored
        self._written = written
        self._embedding = embedding
        self._reranker = reranker
        self._head, self._without_readings = Head.load(), Head.load(WITHOUT_READINGS)

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write `evidence`, `contradictions`, `probability` and what is the least of it."""
        unwanted = question.grounding == "off" and not question.is_quoted
        if unwanted or not question.candidates:
            return
        if question.logits is None:  # the reranker is away, and would not answer here either
            self.substitute(question)
            return
        query, passages = question.request.query, question.as_passages(question.logits)
        asked, told = language_of(query), language_of(passages[0].text)
        known = _reads(self._scored, asked, told)
        if not known:
            question.degraded.append("language")
            if question.request.model == AUTO and not _reads(self._written, asked, told):
                question.prefer = "quote"
            if asked == told:  # the words can still be compared
                self.substitute(question)
                return
        found = without(question.orders, candidates(query, passages, language=told))
        if not found:  # no sentence, or each gives orders to the model
            question.probability = 0.0
            question.least_probability = self._head.threshold(question.false_refusals)
            return
        found, said = await self._score(question, found, context, readings=known)
        question.evidence = evidence(query, found, said)
        question.contradictions = _contradictions(question)
        head = self._without_readings if said.readings is None else self._head
        question.probability = head.probability(features(query, passages, found, said))
        question.least_probability = head.threshold(question.false_refusals)
        if question.prefer == "decisive" and question.probability >= DECISIVE:
            question.prefer = "quote"

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
        windows = [query, *(item.window for item in kept)]
        vectors, embedded = await self._embedding.embed(windows, context)
        question.rerank_tokens += read.tokens
        question.embedding_tokens += embedded
        return kept, replace(said, cosines=(vectors[1:] @ vectors[0]).tolist())

    def substitute(self, question: Question) -> None:
        """Take the sentences that share most words with the question."""
        question.evidence = lexical_evidence(question)


def _reads(languages: frozenset[str], *wanted: str) -> bool:
    return not languages or languages.issuperset(wanted)


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
