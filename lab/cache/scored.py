"""What the models say of a pair: both questions' evidence over its passages, and their cosine.

Passages are not reranked: there are three, and the sentences of all of them are scored. Nothing is
refused either, so that more is served here than by a server.
"""

from dataclasses import dataclass
from functools import cache

from lab.answers.probe import Probe
from lab.answers.scores import Scores
from lab.cache.data import Pair
from tiffin.grounding.evidence import Passage, Said, candidates, evidence

_probe = cache(Probe.shipped)


@dataclass(frozen=True)
class ScoredPair:
    """A pair with the evidence of each question: sentences, best first; none without passages."""

    pair: Pair
    cosine: float
    asked: tuple[str, ...]
    again: tuple[str, ...]


def score(pair: Pair, scores: Scores) -> ScoredPair:
    """The calls to the models that both questions make."""
    (cosine,) = scores.cosines(pair.asked, [pair.again])
    asked, again = (_evidence(text, pair, scores) for text in (pair.asked, pair.again))
    return ScoredPair(pair, cosine, asked, again)


def _evidence(question: str, pair: Pair, scores: Scores) -> tuple[str, ...]:
    passages = [Passage(index, text, 0.0) for index, text in enumerate(pair.passages)]
    if not passages:
        return ()
    found = candidates(question, passages)
    states = scores.states(question, [item.text for item in found])
    readings = _probe().readings(states[:, 1:])
    cosines = scores.cosines(question, [item.window for item in found])
    said = Said(states[:, 0].tolist(), readings, cosines)
    return tuple(one.sentence for one in evidence(question, found, said))
