"""What the models say of a pair: both questions' evidence over its passages, and their cosine.

Passages are not reranked: there are three, and the sentences of all of them are scored. Nothing is
refused either, so that more is served here than by a server.
"""

from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from lab.answers.probe import Probe
from lab.answers.scores import Scores
from lab.cache.data import Pair
from lab.opinions import Opinions
from models.engines.reading import PAIRED
from tiffin.grounding.alike import Nearness, Worth
from tiffin.grounding.evidence import Passage, Said, candidates, evidence
from tiffin.grounding.same import (
    LEAST_COSINE,
    Asked,
    Kept,
    exact_differences,
    wording_differences,
)
from tiffin.pipeline.likeness import question_for

_probe = cache(Probe.shipped)
pair_probe = cache(partial(Probe.shipped, PAIRED))


@dataclass(frozen=True)
class ScoredPair:
    """A pair with the evidence of each question: sentences, best first; none without passages.

    Of the best sentence, also what the reranker said of it.
    """

    pair: Pair
    cosine: float
    asked: tuple[str, ...]
    again: tuple[str, ...]
    asked_worth: Worth | None = None
    again_worth: Worth | None = None
    paired: float | None = None
    leaning: float | None = None

    def near(self) -> Nearness:
        """How near the questions are to each other."""
        return Nearness(self.cosine, self.paired, self.leaning)

    def kept(self) -> Kept | None:
        """The first question as it is kept, if its evidence has the answer.

        The sentence that supports it is the first that holds the answer of SQuAD.
        """
        if not self.asked:
            return None
        answer = self.pair.answers[0]
        support = [one for one in self.asked if answer.casefold() in one.casefold()][:1]
        if not support:
            return None
        return Kept(self.pair.asked, self.asked, self.asked_worth, tuple(support), answer)

    def new(self) -> Asked:
        """The second question."""
        return Asked(self.pair.again, self.again, self.again_worth)

    def left(self) -> bool:
        """Whether no exact guard tells the questions apart, so that it is left to the head."""
        kept = self.kept()
        if kept is None or self.cosine < LEAST_COSINE:
            return False
        return not exact_differences(kept, self.new())

    async def asked_of(self, opinions: Opinions) -> "ScoredPair":
        """The same with what an LLM leans to, if it is left to the head."""
        kept = self.kept()
        if kept is None or not self.left():
            return self
        return replace(self, leaning=await opinions.of(question_for(kept, self.pair.again)))


def score(pair: Pair, scores: Scores, *, whole: bool = False) -> ScoredPair:
    """The calls to the models that both questions make.

    Unless the `whole` is wanted there is no evidence of questions that their wording tells apart:
    it changes nothing for them.
    """
    (cosine,) = scores.cosines(pair.asked, [pair.again])
    told_apart = cosine < LEAST_COSINE or wording_differences(pair.asked, pair.again)
    if told_apart and not whole:
        return ScoredPair(pair, cosine, (), ())
    (asked, of_asked), (again, of_again) = (
        _evidence(text, pair, scores) for text in (pair.asked, pair.again)
    )
    paired = pair_probe().readings(pair_states(pair, scores)[None])[0]
    return ScoredPair(pair, cosine, asked, again, of_asked, of_again, paired)


def pair_states(pair: Pair, scores: Scores) -> NDArray[np.float32]:
    """Float32 (2 x hidden,): what the reranker makes of both questions, in either order."""
    both = ((pair.asked, pair.again), (pair.again, pair.asked))
    rows = [scores.states(one, [other])[0, 1:] for one, other in both]
    mean: NDArray[np.float32] = np.mean(rows, axis=0)
    return mean


def _evidence(question: str, pair: Pair, scores: Scores) -> tuple[tuple[str, ...], Worth | None]:
    passages = [Passage(index, text, 0.0) for index, text in enumerate(pair.passages)]
    if not passages:
        return (), None
    found = candidates(question, passages)
    states = scores.states(question, [item.text for item in found])
    readings = _probe().readings(states[:, 1:])
    cosines = scores.cosines(question, [item.window for item in found])
    said = Said(states[:, 0].tolist(), readings, cosines)
    best = evidence(question, found, said)
    reading = best[0].reading
    worth = None if reading is None else Worth(best[0].logit, reading)
    return tuple(one.sentence for one in best), worth
