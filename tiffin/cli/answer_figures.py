"""What `tiffin eval answers` reads off the answers to questions with known answers."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tiffin.cli.figures import Figure, figure
from tiffin.cli.questions import Asked
from tiffin.core.sentences import split_sentences
from tiffin.grounding.quantities import quantities
from tiffin.grounding.support import check


@dataclass(frozen=True)
class Reply:
    """An answer of the server in a mode: `model` and `grounding`."""

    asked: Asked
    answer: dict[str, Any]
    took_ms: float
    mode: dict[str, str]

    @property
    def text(self) -> str:
        """The answer's text."""
        return str(self.answer["answer"])

    @property
    def answered(self) -> bool:
        """Whether it was no refusal. Only `strict` refuses; the others only doubt."""
        return bool(self.answer["answered"]) or self.mode["grounding"] != "strict"

    @property
    def probability(self) -> float | None:
        """The probability that the documents answer; None if it was not asked for."""
        found: float | None = self.answer["probability"]
        return found

    @cached_property
    def told(self) -> list[str]:
        """The sentences of the documents."""
        return [s.text for text in self.asked.texts() for s in split_sentences(text)]

    @property
    def right(self) -> bool:
        """Whether it holds a right answer's text, or a sentence that supports one."""
        return self.answered and holds(self.text, (*self.asked.answers, *self.asked.supporting))


def figures_of(replies: Sequence[Reply]) -> dict[str, Figure]:
    """All figures by their name, in the order in which they are printed."""
    yes = [item for item in replies if item.asked.answers]
    no = [item for item in replies if not item.asked.answers]
    given = [item for item in replies if item.answered]

    def share(of: Callable[[Reply], float], rows: Sequence[Reply]) -> Figure:
        return figure([float(of(row)) for row in rows], [row.asked.group for row in rows])

    cited = [(row, one) for row in yes if row.answered for one in row.answer["citations"]]
    sentences = [(row, one.text) for row in given for one in split_sentences(row.text)]
    return {
        "right, of the answerable": share(lambda row: row.right, yes),
        "right, of those answered": share(lambda row: row.right, [r for r in yes if r.answered]),
        "F1 with the right answer": share(f1, [r for r in yes if r.answered]),
        "answerable refused": share(lambda row: not row.answered, yes),
        "unanswerable refused": share(lambda row: not row.answered, no),
        "citations of a right document": figure(
            [float(_is_right_source(row, one)) for row, one in cited],
            [row.asked.group for row, _ in cited],
        ),
        "sentences with a citation": figure(
            [float(_is_cited(row, text)) for row, text in sentences],
            [row.asked.group for row, _ in sentences],
        ),
        "sentences not supported": figure(
            [float(not _is_supported(row, text)) for row, text in sentences],
            [row.asked.group for row, _ in sentences],
        ),
        "answers with an unknown number": share(_has_unknown_number, given),
        "USD a question": share(lambda row: row.answer["cost"]["usd"], replies),
        "p50, ms": _quantile(replies, 0.5),
        "p95, ms": _quantile(replies, 0.95),
    }


def holds(text: str, answers: Sequence[str]) -> bool:
    """Whether the text holds one of the answers, ignoring case and white space."""
    folded = " ".join(text.casefold().split())
    return any(" ".join(answer.casefold().split()) in folded for answer in answers)


def f1(reply: Reply) -> float:
    """SQuAD's F1: of the words that answer and right answer share; the best right answer counts."""
    said = _words(reply.text)
    return max((_f1(said, _words(right)) for right in reply.asked.answers), default=0.0)


def _f1(said: Sequence[str], right: Sequence[str]) -> float:
    shared = (Counter(said) & Counter(right)).total()
    return 2 * shared / (len(said) + len(right)) if shared else 0.0


def _words(text: str) -> list[str]:
    found = re.findall(r"\w+", text.casefold())
    return [word for word in found if word not in {"a", "an", "the"}]


def _is_right_source(reply: Reply, citation: dict[str, Any]) -> bool:
    wanted = reply.asked.supporting or reply.asked.answers
    source = next(s for s in reply.answer["sources"] if s["index"] == citation["source"])
    return holds(source["text"], wanted)


def _is_cited(reply: Reply, sentence: str) -> bool:
    start = reply.text.index(sentence)
    end = start + len(sentence)
    return any(one["start"] < end and start < one["end"] for one in reply.answer["citations"])


def _is_supported(reply: Reply, sentence: str) -> bool:
    """By the same check as the gate's, but against every document as a whole."""
    return check(sentence, reply.told, reply.asked.question).supported


def _has_unknown_number(reply: Reply) -> float:
    said = {value for value, _ in quantities(reply.text)}
    known = {value for text in reply.asked.texts() for value, _ in quantities(text)}
    return float(bool(said - known))


def _quantile(replies: Sequence[Reply], share: float) -> Figure:
    return figure(
        [item.took_ms for item in replies],
        [item.asked.group for item in replies],
        lambda drawn: float(np.quantile(drawn, share)),
    )
