"""Cite: which passage supports each sentence of the answer.

Small models do not cite reliably, so citations are not asked of the model: each sentence of the
answer is compared with each sentence of the passages by the words that they share, a rare word
weighing more than a common one. A sentence that no passage supports gets no citation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tiffin.core.context import RequestContext
from tiffin.core.sentences import Sentence, split_sentences
from tiffin.core.values import Citation, Source
from tiffin.grounding.wording import rarity, words
from tiffin.pipeline.question import Question, citation
from tiffin.pipeline.stage import Stage

MIN_SUPPORT = 0.4
"""Share of a sentence's words, by weight, that a passage must hold to be cited for it."""


class Cite(Stage):
    """Runs last, when the answer is written."""

    name = "cite"
    degraded = "citations"

    async def run(self, question: Question, _: RequestContext) -> None:
        """Write the citations of what a model wrote. Quotes bring theirs."""
        if not question.is_refused and not question.citations:
            question.citations = cite(question.draft.text, question.sources)


@dataclass(frozen=True)
class _Evidence:
    source: int
    quote: str
    words: frozenset[str]


def cite(answer: str, sources: Sequence[Source]) -> list[Citation]:
    """Citations in the order of the answer, at most one a sentence: its best supported."""
    evidence = [
        _Evidence(source.index, quote.text, words(f"{source.title or ''} {quote.text}"))
        for source in sources
        for quote in split_sentences(source.text)
    ]
    weights = rarity([item.words for item in evidence])
    citations = (
        _best_citation(answer, sentence, evidence, weights) for sentence in split_sentences(answer)
    )
    return [citation for citation in citations if citation is not None]


def _best_citation(
    answer: str,
    sentence: Sentence,
    evidence: Sequence[_Evidence],
    weights: Mapping[str, float],
) -> Citation | None:
    said = words(sentence.text)
    unseen = max(weights.values(), default=1.0)  # a word that no passage holds is the rarest
    total = sum(weights.get(word, unseen) for word in said)
    if not total or not evidence:
        return None

    def support(item: _Evidence) -> float:
        return sum(weights[word] for word in said & item.words) / total

    best = max(evidence, key=support)  # of equals the first, from the most relevant source
    if support(best) < MIN_SUPPORT:
        return None
    share = round(support(best), 3)
    return citation(answer, (sentence.start, sentence.end), best.source, best.quote, share)
