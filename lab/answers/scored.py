"""A case with everything that the models said of it, which is what an answer is made from."""

from dataclasses import dataclass

from lab.answers.data import Case
from lab.answers.scores import Scores
from tiffin.grounding.answerable import features
from tiffin.grounding.evidence import (
    LEADING,
    Candidate,
    Evidence,
    Passage,
    candidates,
    evidence,
    leading,
)


@dataclass(frozen=True)
class Scored:
    """A case with everything that the reranker said of it."""

    case: Case
    passages: list[Passage]
    candidates: list[Candidate]
    logits: list[float]
    cosines: list[float]

    def features(self) -> dict[str, float]:
        """What the head reads."""
        found = self.candidates, self.logits, self.cosines
        return features(self.case.question, self.passages, *found)

    def evidence(self, count: int) -> list[Evidence]:
        """The sentences that an answer would be made of."""
        found = self.candidates, self.logits, self.cosines
        return evidence(self.case.question, *found, limit=count)


def score(case: Case, scores: Scores, *, embedded: int | None = None) -> Scored:
    """The calls to the models that an answer makes, or with more sentences embedded than that."""
    passages = [
        Passage(index, text, logit)
        for index, (text, logit) in enumerate(
            zip(case.passages, scores.logits(case.question, case.passages), strict=True)
        )
    ]
    found = candidates(case.question, passages)
    texts = [item.text for item in found]
    found, logits = leading(found, scores.logits(case.question, texts), embedded or LEADING)
    cosines = scores.cosines(case.question, [item.window for item in found])
    return Scored(case, passages, found, logits, cosines)
