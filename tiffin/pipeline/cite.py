"""Finds which passage supports each sentence of the answer.

Small models do not cite reliably, so citations are not asked of the model: each sentence of the
answer is compared with each sentence of the passages by the words they share, a rare word weighing
more than a common one (inverse document frequency, Sparck Jones 1972). A sentence that no passage
supports gets no citation.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tiffin.core.values import Citation, Source

MIN_SUPPORT = 0.4
"""Share of a sentence's words, by weight, that a passage must hold to be cited for it."""

_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?](?=\s|$)|[。！？]|(?=\n|$))")  # noqa: RUF001
# Words; each character by itself in scripts that are written without spaces.
_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W_]+")


@dataclass(frozen=True)
class _Evidence:
    source: int
    quote: str
    words: frozenset[str]


def cite(answer: str, sources: Sequence[Source]) -> list[Citation]:
    """Citations in the order of the answer, at most one a sentence: its best supported."""
    evidence = [
        _Evidence(source.index, quote, _words(f"{source.title or ''} {quote}"))
        for source in sources
        for _, _, quote in _sentences(source.text)
    ]
    weights = _weights(evidence)
    citations = (
        _best_citation(start, end, sentence, evidence, weights)
        for start, end, sentence in _sentences(answer)
    )
    return [citation for citation in citations if citation is not None]


def _best_citation(
    start: int,
    end: int,
    sentence: str,
    evidence: Sequence[_Evidence],
    weights: dict[str, float],
) -> Citation | None:
    words = _words(sentence)
    unseen = max(weights.values(), default=1.0)  # a word that no passage holds is the rarest
    total = sum(weights.get(word, unseen) for word in words)
    if not total or not evidence:
        return None

    def support(item: _Evidence) -> float:
        return sum(weights[word] for word in words & item.words) / total

    best = max(evidence, key=support)  # the first of equals: the most relevant source
    if support(best) < MIN_SUPPORT:
        return None
    return Citation(
        start=start, end=end, source=best.source, quote=best.quote, support=round(support(best), 3)
    )


def _weights(evidence: Sequence[_Evidence]) -> dict[str, float]:
    """Inverse document frequency of every word over the passages' sentences."""
    counts = Counter(word for item in evidence for word in item.words)
    return {word: math.log(1 + len(evidence) / count) for word, count in counts.items()}


def _sentences(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _SENTENCE.finditer(text):
        yield match.start(), match.end(), match.group()


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))
