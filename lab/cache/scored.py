"""What the models say of a pair: both questions' evidence over its passages, and their cosine.

Passages are not reranked: there are three, and the sentences of all of them are scored. Nothing is
refused either, so that more is served here than by a server.
"""

from dataclasses import dataclass

from lab.answers.scores import Scores
from lab.cache.data import Pair
from tiffin.grounding.evidence import Evidence, Passage, candidates, evidence


@dataclass(frozen=True)
class ScoredPair:
    """A pair with the evidence of each question, best first; none without passages."""

    pair: Pair
    cosine: float
    asked: list[Evidence]
    again: list[Evidence]


def score(pair: Pair, scores: Scores) -> ScoredPair:
    """The calls to the models that both questions make."""
    (cosine,) = scores.cosines(pair.asked, [pair.again])
    asked, again = (_evidence(text, pair, scores) for text in (pair.asked, pair.again))
    return ScoredPair(pair, cosine, asked, again)


def _evidence(question: str, pair: Pair, scores: Scores) -> list[Evidence]:
    passages = [Passage(index, text, 0.0) for index, text in enumerate(pair.passages)]
    if not passages:
        return []
    found = candidates(question, passages)
    logits = scores.logits(question, [item.text for item in found])
    cosines = scores.cosines(question, [item.window for item in found])
    return evidence(question, found, logits, cosines)
