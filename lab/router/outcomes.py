"""Labelled traffic: queries with how well a weak and a strong model answered each.

CSV (also gzipped) or JSON lines with `query` (or `prompt`), `weak_correct` and `strong_correct`
(true/false, or a judge's score from 0 to 1) and, if there is one, `subject` (or `group`). The rows
of one group are never on both sides of a split, so that a model is tested on what it never saw.
"""

import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]
By = Literal["group", "query"]

_FIRST_CHOICE = re.compile(r"\n\(?A[.)] ")
_WORDS = {"true": 1.0, "false": 0.0}


class OutcomesError(ModelError):
    """Labelled traffic cannot be read; the message names the file and the row."""


@dataclass(frozen=True)
class Outcomes:
    """`weak` and `strong` are float32 (rows,), from 0 (wrong) to 1 (right)."""

    queries: Sequence[str]
    weak: Floats
    strong: Floats
    groups: Sequence[str]
    sha256: str
    asked: Sequence[str] = ()
    """The query that a row is a form of, if there are several forms; by default each its own."""

    def take(self, rows: Rows) -> "Outcomes":
        """Some of the rows."""
        names = (self.queries, self.groups, self.asked or self.queries)
        queries, groups, asked = ([column[row] for row in rows] for column in names)
        weak, strong = self.weak[rows], self.strong[rows]
        return replace(self, queries=queries, weak=weak, strong=strong, groups=groups, asked=asked)

    def numbers(self, by: By) -> Rows:
        """The number of each row's group or query. If there is one group only, of its query."""
        alone = by == "query" or len(set(self.groups)) == 1
        names = (self.asked or self.queries) if alone else self.groups
        return np.unique(np.array(names), return_inverse=True)[1]

    def folds(self, seed: int, count: int, by: By = "group") -> list[Rows]:
        """The rows in `count` parts, no two of which share a group (or a query)."""
        numbers = self.numbers(by)
        order = np.random.default_rng(seed).permutation(numbers.max() + 1)
        parts = np.array_split(order, min(count, len(order)))
        return [np.flatnonzero(np.isin(numbers, part)) for part in parts]


def widened(outcomes: Outcomes) -> Outcomes:
    """The same rows, and then each question of an exam once more without its choices.

    That is how people ask. The labels are those of the question with its choices.
    """
    plain = [without_choices(query) for query in outcomes.queries]
    other = [row for row, query in enumerate(outcomes.queries) if plain[row] != query]
    both = outcomes.take(np.array([*range(len(plain)), *other], np.intp))
    queries = [*outcomes.queries, *(plain[row] for row in other)]
    return replace(both, queries=queries)


def without_choices(query: str) -> str:
    """The question alone, or the query as it is if it has no choices."""
    first = _FIRST_CHOICE.search(query)
    return query if first is None else query[: first.start()].strip()


def read_outcomes(path: Path) -> Outcomes:
    """Read a file of labelled traffic. Raises OutcomesError."""
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if path.suffix == ".gz" else raw
        text = data.decode()
        is_csv = ".csv" in path.suffixes
        rows = list(csv.DictReader(io.StringIO(text)) if is_csv else _json_lines(text))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        message = f"{path}: {error}"
        raise OutcomesError(message) from error
    parsed = [_row(path, number, row) for number, row in enumerate(rows, start=1)]
    if not parsed:
        message = f"{path}: no rows"
        raise OutcomesError(message)
    queries, weak, strong, groups = zip(*parsed, strict=True)
    return Outcomes(
        queries,
        np.array(weak, np.float32),
        np.array(strong, np.float32),
        groups,
        hashlib.sha256(raw).hexdigest(),
    )


def _json_lines(text: str) -> Iterator[Mapping[str, object]]:
    for line in text.splitlines():
        if line.strip():
            yield json.loads(line)


def _row(path: Path, number: int, row: Mapping[str, object]) -> tuple[str, float, float, str]:
    try:
        query = str(row["query"] if "query" in row else row["prompt"])
        weak, strong = (_score(row[name]) for name in ("weak_correct", "strong_correct"))
    except (KeyError, ValueError) as error:
        message = f"{path}: row {number}: {error}; needed: query, weak_correct, strong_correct"
        raise OutcomesError(message) from None
    group = row.get("subject") or row.get("group")
    return query, weak, strong, str(group) if group else hashlib.sha256(query.encode()).hexdigest()


def _score(value: object) -> float:
    words = str(value).strip().lower()
    score = _WORDS[words] if words in _WORDS else float(words)
    if not 0 <= score <= 1:
        message = f"{value!r} is not true, false or a score from 0 to 1"
        raise ValueError(message)
    return score
