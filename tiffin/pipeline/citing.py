"""Finds which passage supports each sentence of an answer, for the `cite` and `generate` stages.

Small models do not cite reliably, so citations are not asked of the model: each sentence of the
answer is compared with each sentence of the passages by the words that they share, a rare word
weighing more than a common one. A sentence that no passage supports gets no citation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tiffin.core.sentences import split_sentences
from tiffin.core.values import Citation, Source
from tiffin.grounding.wording import rarity, words
from tiffin.pipeline.question import citation

MIN_SUPPORT = 0.4
"""Share of a sentence's words, by weight, that a passage must hold to be cited for it."""


@dataclass(frozen=True)
class _Evidence:
    source: int
    quote: str
    words: frozenset[str]


class Citer:
    """Finds citations in these sources, for an answer while it is written or as a whole."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._evidence = [
            _Evidence(source.index, quote.text, words(f"{source.title or ''} {quote.text}"))
            for source in sources
            for quote in split_sentences(source.text)
        ]
        self._weights = rarity([item.words for item in self._evidence])

    def cite(self, answer: str, start: int = 0) -> list[Citation]:
        """The citations from code point `start` on, where a sentence begins.

        At most one a sentence: its best supported.
        """
        found = []
        for sentence in split_sentences(answer[start:]):
            span = start + sentence.start, start + sentence.end
            found.append(_best_citation(answer, span, self._evidence, self._weights))
        return [citation for citation in found if citation is not None]


def _best_citation(
    answer: str,
    span: tuple[int, int],
    evidence: Sequence[_Evidence],
    weights: Mapping[str, float],
) -> Citation | None:
    said = words(answer[slice(*span)])
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
    return citation(answer, span, best.source, best.quote, share)
