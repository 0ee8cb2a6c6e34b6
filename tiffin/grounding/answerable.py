"""How likely it is that the passages answer the question: a small trained head.

Its features are the reranker's scores and what the question and the text have in common. The head
is next to this file as JSON, with what it was trained on; `lab.answers.train` makes it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiffin.grounding.evidence import Candidate, Passage, Said
from tiffin.grounding.quantities import numbers
from tiffin.grounding.questions import asks, fits
from tiffin.grounding.wording import fold, names, words

SHIPPED = Path(__file__).with_name("answerable.json")
WITHOUT_READINGS = Path(__file__).with_name("answerable_without_readings.json")
"""For rerankers that have none, but the shipped one's logits."""
NO_LOGIT = -12.0
"""The reranker's logit for a text that has nothing to do with the question."""

SENTENCE_FLOOR = -8.0
PASSAGE_FLOOR = -4.0
"""Lower logits say little: a text that answers in other words than the question's gets one as low
as a text about something else."""

Floats = NDArray[np.float64]


class HeadError(ValueError):
    """The file does not hold a head, or holds one for other features."""


def features(
    question: str,
    passages: Sequence[Passage],
    scored: Sequence[Candidate],
    said: Said,
) -> dict[str, float]:
    """The head's inputs by name. Takes a few milliseconds."""
    worths = said.worths()
    best = _best(scored, worths)
    alike = _best(scored, replace(said, readings=None).worths())
    heights = [*sorted(said.logits, reverse=True), NO_LOGIT, NO_LOGIT]
    merits = [*sorted(worths, reverse=True), NO_LOGIT, NO_LOGIT]
    depth = max((item.logit for item in passages), default=NO_LOGIT)
    everything = " ".join(item.text for item in passages)
    asked = words(question)
    shares = [len(asked & words(text)) / max(1, len(asked)) for text in (best, alike)]
    lacks = 1.0 - fits(question, best)
    return {
        "sentence": heights[0],
        "second": heights[1],
        "passage": max(depth, PASSAGE_FLOOR),
        "worded": shares[0] * max(heights[0], SENTENCE_FLOOR),
        "worded_alike": shares[1] * max(heights[0], SENTENCE_FLOOR),
        "lacks_kind": lacks if depth < 0 else 0.0,
        "names_missing": _missing_names(question, everything),
        "numbers_missing": _missing_numbers(question, everything),
        "yes_no": float(asks(question) == "yes-no"),
        "worth": merits[0],
        "second_worth": merits[1],
        "worth_unlike": max(0.0, -heights[0]) * merits[0],
    }


def _best(scored: Sequence[Candidate], worths: Sequence[float]) -> str:
    """The texts of the three sentences that are worth most."""
    order = sorted(range(len(scored)), key=lambda index: -worths[index])
    return " ".join(scored[index].text for index in order[:3])


def _missing_names(question: str, text: str) -> float:
    asked = names(question)
    return float(len(asked - _folded_words(text))) if asked else 0.0


def _missing_numbers(question: str, text: str) -> float:
    asked = numbers(question)
    return float(len(asked - numbers(text))) if asked else 0.0


def _folded_words(text: str) -> frozenset[str]:
    return frozenset(re.split(r"\W+", fold(text))) | names(text)


NAMES = tuple(features("", (), (), Said(())))


def threshold_at(thresholds: Mapping[str, float], rate: float) -> float:
    """The threshold at a rate, between those of the two rates that are nearest."""
    rates = sorted(map(float, thresholds))
    return float(np.interp(rate, rates, [thresholds[f"{known:g}"] for known in rates]))


@dataclass(frozen=True)
class Head:
    """A logistic regression on standardised features, and its thresholds.

    `thresholds` maps a rate of false refusals, as text ("0.05"), to the probability below which a
    question is refused to have that rate on the development questions.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    bias: float
    thresholds: Mapping[str, float]
    metadata: Mapping[str, str]

    def probability(self, named: Mapping[str, float]) -> float:
        """The probability that the passages answer the question, from `features`."""
        row = np.array([[named[name] for name in NAMES]])
        return float(self.probabilities(row)[0])

    def probabilities(self, rows: Floats) -> Floats:
        """The same for rows of features in the order of NAMES."""
        z = (rows - self.mean) / self.scale @ self.weights + self.bias
        result: Floats = 1 / (1 + np.exp(-z))
        return result

    def threshold(self, false_refusals: float) -> float:
        """The probability below which a question is refused, at a wanted rate of false refusals."""
        return threshold_at(self.thresholds, false_refusals)

    def save(self, path: Path) -> None:
        """Write the file."""
        weights = {
            name: {"mean": round(mean, 6), "scale": round(scale, 6), "weight": round(weight, 6)}
            for name, mean, scale, weight in zip(
                NAMES, self.mean, self.scale, self.weights, strict=True
            )
        }
        content = {
            "features": weights,
            "bias": round(self.bias, 6),
            "thresholds": dict(self.thresholds),
            "metadata": dict(self.metadata),
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path = SHIPPED) -> "Head":
        """Read a file. Raises HeadError."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            named = content["features"]
            if tuple(named) != NAMES:
                message = f"{path}: made for other features; train it again"
                raise HeadError(message)
            columns = [
                np.array([row[column] for row in named.values()], np.float64)
                for column in ("mean", "scale", "weight")
            ]
            mean, scale, weights = columns
            return cls(
                mean,
                scale,
                weights,
                float(content["bias"]),
                content["thresholds"],
                content["metadata"],
            )
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            message = f"{path}: not a head: {error}"
            raise HeadError(message) from error
