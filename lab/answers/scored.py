"""A case with everything that the models said of it, which is what an answer is made from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import Case
from lab.answers.probe import Pairs, Probe
from lab.answers.scores import Scores
from tiffin.cli.answer_figures import holds
from tiffin.grounding.answerable import features
from tiffin.grounding.evidence import (
    LEADING,
    Candidate,
    Evidence,
    Passage,
    Said,
    candidates,
    evidence,
    leading,
)


@dataclass(frozen=True)
class Found:
    """A case with its candidates, and what the reranker said of each."""

    case: Case
    passages: list[Passage]
    candidates: list[Candidate]
    logits: list[float]
    states: NDArray[np.float32]

    def pairs(self, scores: Scores) -> Pairs:
        """What a probe is trained on."""
        windows = [item.window for item in self.candidates]
        cosines = scores.cosines(self.case.question, windows)
        worths = np.array(Said(self.logits, cosines=cosines).worths())
        return Pairs(worths, self.states, np.array([self._answers(c) for c in self.candidates]))

    def _answers(self, candidate: Candidate) -> bool:
        if self.case.supporting:
            return candidate.text in self.case.supporting
        return bool(self.case.answers) and holds(candidate.text, self.case.answers)


@dataclass(frozen=True)
class Scored:
    """A case with the sentences that may be evidence, and all that was said of them."""

    case: Case
    passages: list[Passage]
    candidates: list[Candidate]
    said: Said

    def features(self) -> dict[str, float]:
        """What the head reads."""
        return features(self.case.question, self.passages, self.candidates, self.said)

    def evidence(self, count: int) -> list[Evidence]:
        """The sentences that an answer would be made of."""
        return evidence(self.case.question, self.candidates, self.said, limit=count)


def find(case: Case, scores: Scores) -> Found:
    """The reranker's calls: for the passages, and then for their sentences."""
    logits = scores.logits(case.question, case.passages)
    rows: Sequence[tuple[str, float]] = list(zip(case.passages, logits, strict=True))
    passages = [Passage(index, text, logit) for index, (text, logit) in enumerate(rows)]
    found = candidates(case.question, passages)
    states = scores.states(case.question, [item.text for item in found])
    return Found(case, passages, found, states[:, 0].tolist(), states[:, 1:])


def judge(found: Found, scores: Scores, probe: Probe, *, embedded: int | None = None) -> Scored:
    """The sentences that lead by that probe, and the embedder's call for them."""
    said = Said(found.logits, probe.readings(found.states))
    kept, said = leading(found.candidates, said, embedded or LEADING)
    cosines = scores.cosines(found.case.question, [item.window for item in kept])
    return Scored(found.case, found.passages, kept, replace(said, cosines=cosines))


def score(case: Case, scores: Scores, probe: Probe, *, embedded: int | None = None) -> Scored:
    """The calls to the models that an answer makes, or with more sentences embedded than that."""
    return judge(find(case, scores), scores, probe, embedded=embedded)
