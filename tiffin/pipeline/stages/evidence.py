"""Evidence: the sentences that answer, and how likely it is that there is an answer at all.

The sentences of the best passages are scored once more, all by the reranker and then the best by
the embedder, in one bounded call each. A small trained head reads those scores and what question
and text have in common (docs/answers.md). What it calls unanswered is refused without asking a
model.

In a language that the models do not read, the sentences that share words with the question are
quoted, and nothing is written.
"""

from tiffin.cache.vectors import Embeds
from tiffin.clients import RerankerClient
from tiffin.core.context import RequestContext
from tiffin.core.names import AUTO
from tiffin.core.values import Contradiction
from tiffin.grounding import answerable
from tiffin.grounding.evidence import candidates, evidence, leading, without
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
        reranker: RerankerClient,
        head: answerable.Head,
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
        self._head = head

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write `evidence`, `contradictions` and `probability`."""
        unwanted = question.grounding == "off" and not question.is_quoted
        if unwanted or not question.candidates:
            return
        if question.logits is None:  # the reranker is away, and would not answer here either
            self.substitute(question)
            return
        query, passages = question.request.query, question.as_passages(question.logits)
        asked, told = language_of(query), language_of(passages[0].text)
        if not _reads(self._scored, asked, told):
            question.degraded.append("language")
            if question.request.model == AUTO and not _reads(self._written, asked, told):
                question.prefer = "quote"
            if asked == told:  # the words can still be compared
                self.substitute(question)
                return
        found = without(question.orders, candidates(query, passages, language=told))
        if not found:  # every sentence gives orders to the model
            question.probability = 0.0
            return
        scored, read = await self._reranker.score(query, [item.text for item in found], context)
        found, logits = leading(found, scored.tolist())
        windows = [query, *(item.window for item in found)]
        vectors, embedded = await self._embedding.embed(windows, context)
        question.rerank_tokens += read
        question.embedding_tokens += embedded
        scores = found, logits, (vectors[1:] @ vectors[0]).tolist()
        question.evidence = evidence(query, *scores)
        question.contradictions = [
            Contradiction(
                sources=(
                    question.source_of(one.passage.index).index,
                    question.source_of(other.passage.index).index,
                ),
                quotes=(one.text, other.text),
            )
            for one, other in contradictions(question.evidence)
        ]
        question.probability = self._head.probability(answerable.features(query, passages, *scores))
        if question.prefer == "decisive" and question.probability >= answerable.DECISIVE:
            question.prefer = "quote"

    def substitute(self, question: Question) -> None:
        """Take the sentences that share most words with the question."""
        question.evidence = lexical_evidence(question)


def _reads(languages: frozenset[str], *wanted: str) -> bool:
    return not languages or languages.issuperset(wanted)
