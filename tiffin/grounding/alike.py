"""How likely it is that one answer fits two wordings of a question: a small trained head.

Called by `tiffin.grounding.same` when no exact guard tells the questions apart. It reads what the
reranker said of the sentence that answers both, and of both questions together, and the words that
only one of them has. `lab.cache.train` makes `alike.json`. A second head also reads what an LLM
leans to if it is asked (`tiffin.pipeline.likeness`); `lab.cache.confirmed` makes
`alike_confirmed.json`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tiffin.grounding import synonyms
from tiffin.grounding.wording import stem

SHIPPED = Path(__file__).with_name("alike.json")
CONFIRMED = Path(__file__).with_name("alike_confirmed.json")
EMBEDDER = "all-minilm-l6-v2"
"""The model whose cosines the head was made for; with another one it is not asked."""
MOST = 6.0
"""The furthest that an LLM can lean, in logits: one that does not doubt is not always right."""


class Worth(NamedTuple):
    """What the reranker said of a question's best sentence: its logit, and its reading."""

    logit: float
    reading: float


class Nearness(NamedTuple):
    """The cosine of two questions' embeddings, and what the reranker and an LLM say of both.

    These are in logits. `paired` is None of a reranker that does not tell, `leaning` if no LLM was
    asked.
    """

    cosine: float
    paired: float | None = None
    leaning: float | None = None


class Words(NamedTuple):
    """A question's content words, folded, in order, and words that mean little, such as "people".

    Of the latter those that may stand for another word: "people" for "dynasty".
    """

    content: Sequence[str]
    vague: frozenset[str]


def features(
    kept: Words, new: Words, worths: tuple[Worth, Worth], near: Nearness
) -> dict[str, float]:
    """The head's inputs by name. `worths` are the kept question's and the new one's."""
    gone, come = leftovers(kept.content, new.content), leftovers(new.content, kept.content)
    if gone and not come:
        come = sorted(new.vague - kept.vague)  # "people" for "dynasty"
    asked = {} if near.leaning is None else {"leaning": bounded(near.leaning)}
    return asked | {
        "paired": near.paired or 0.0,
        "cosine": near.cosine,
        "logit": worths[1].logit - worths[0].logit,
        "reading": worths[1].reading - worths[0].reading,
        "only_come": float(bool(come) and not gone),
        "both": float(bool(gone) and bool(come)),
    }


def bounded(leaning: float) -> float:
    """What an LLM leans to, no further than one may lean."""
    return max(-MOST, min(MOST, leaning))


def leftovers(words: Sequence[str], others: Sequence[str]) -> list[str]:
    """The words of the first that are not in the second: not in another form, nor a synonym."""
    stems = {stem(word) for word in others}
    return [
        word
        for word in dict.fromkeys(words)
        if stem(word) not in stems and not any(synonyms.same(word, other) for other in others)
    ]


@dataclass(frozen=True)
class Head:
    """A logistic regression, and its thresholds.

    `thresholds` maps a bound of wrong hits, as text ("0.01"), to the probability from which on an
    answer is given: then the upper end of the 95 % interval of the share of the development part's
    near-collisions that would get one is at most the bound.
    """

    weights: Mapping[str, float]
    bias: float
    thresholds: Mapping[str, float]
    metadata: Mapping[str, str]

    def probability(self, named: Mapping[str, float]) -> float:
        """The probability that one answer fits both, from `features`."""
        logit = self.bias + sum(weight * named[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))

    def threshold(self, wrong_hits: float) -> float:
        """The least probability for the largest bound that is no larger than this one."""
        within = [rate for rate in self.bounds() if rate <= wrong_hits]
        return self.thresholds[f"{max(within):g}"] if within else 1.0

    def bounds(self) -> list[float]:
        """The bounds that there are thresholds for, the smallest first."""
        return sorted(map(float, self.thresholds))


@cache
def shipped(*, confirmed: bool = False) -> Head:
    """The head next to this file, or the one that also reads what an LLM leans to."""
    path = CONFIRMED if confirmed else SHIPPED
    return Head(**json.loads(path.read_text(encoding="utf-8")))
