"""Checks a written sentence against the evidence by text alone, without a model.

A sentence is released when one piece of the evidence holds enough of its words, with its numbers,
units, dates and names; when it denies what that evidence denies and nothing else; and when its
"yes" or "no" agrees with all evidence that speaks of the question. What fails says why.

The check is strict, because a failure costs little: the quote is released instead. The question is
no evidence: that a shop was asked for "delivery to Canada" does not mean that it
delivers there.
"""

# Patterns hold characters of many scripts.
# ruff: noqa: RUF001

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tiffin.grounding.quantities import dates, quantities
from tiffin.grounding.questions import WEAK, asks, fits
from tiffin.grounding.wording import fold, names, negations, words

Reason = Literal["no_evidence", "number", "unit", "date", "name", "negation", "polarity", "overlap"]

MIN_OVERLAP = 0.7
"""Share of a sentence's content words that one piece of evidence must hold."""

SPEAKS_OF = 0.3
"""Evidence with at least this share of a yes/no question's content words is about it."""

NEAR_COPY = 0.85
"""A sentence with at least this share of its words in the evidence is a copy with changes."""

MAIN_WORDS = 3
"""A main clause has at least this many words."""

_SUBORDINATE = re.compile(
    r"\s(?:who|whom|which|that|if|when|while|because|so that|unless|until|dass|wenn|que|qui|si)\s"
)
_ENDS = re.compile(r"[.!?]\s+(?=\W*[A-ZÀ-Þ])|[。！？]|\n")
_YES = re.compile(r"\W*(?:yes|yeah|yep|ja|oui|sí|sì|sim|是|はい)(?:\b|(?=[^a-z]))", re.IGNORECASE)
_NO = re.compile(r"\W*(?:no|nope|nein|non|não|nee|不|いいえ)(?:\b|(?=[^a-z]))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Support:
    """What was found. `evidence` is the number of the piece that supports the sentence best."""

    reasons: tuple[Reason, ...]
    overlap: float
    evidence: int | None

    @property
    def supported(self) -> bool:
        """Whether the sentence may be released."""
        return not self.reasons


def check(sentence: str, evidence: Sequence[str], question: str) -> Support:
    """Compare the sentence with each piece of evidence; the one with the fewest failures counts."""
    if not evidence:
        return Support(("no_evidence",), 0.0, None)
    said = _plain(sentence)
    for number, text in enumerate(evidence):
        if said and said in _plain(text):
            return Support((), 1.0, number)
    found = [_against(sentence, text, question) for text in evidence]
    overlap, reasons, best = max(
        ((share, why, number) for number, (why, share) in enumerate(found)),
        key=lambda item: (-len(item[1]), item[0]),
    )
    if asks(question) == "yes-no":
        reasons = reasons + _polarity(sentence, evidence, question)
    return Support(tuple(dict.fromkeys(reasons)), round(overlap, 3), best)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", fold(text)))


def _against(sentence: str, text: str, question: str) -> tuple[tuple[Reason, ...], float]:
    """Why this piece of evidence does not support the sentence, and the share of its words."""
    opening = _YES.match(sentence) or _NO.match(sentence)
    rest = sentence[opening.end() :] if opening else sentence
    said = words(rest)
    if not said:
        return (), _share(words(question), text)
    reasons = [*_numbers(rest, text), *_names(rest, text)]
    if quantities(rest) and asks(question) == "amount" and fits(question, rest) == WEAK:
        reasons.append("unit")
    share = _share(said, text)
    if not _deny_alike(rest, _nearest(rest, text), share):
        reasons.append("negation")
    if share < MIN_OVERLAP:
        reasons.append("overlap")
    return tuple(reasons), share


def _share(said: frozenset[str], text: str) -> float:
    return len(said & words(text)) / len(said) if said else 0.0


def _numbers(sentence: str, text: str) -> list[Reason]:
    """Every number must be in the text, with its unit."""
    known = quantities(text)
    values = {value for value, _ in known}
    reasons: list[Reason] = []
    for value, unit in quantities(sentence):
        if value not in values:
            reasons.append("number")
        elif unit and not any(v == value and u == unit for v, u in known):
            reasons.append("unit")
    if dates(sentence) - dates(text):
        reasons.append("date")
    return reasons


def _names(sentence: str, text: str) -> list[Reason]:
    """Every word of every name must be in the text."""
    known = frozenset(re.split(r"\W+", fold(text)))
    parts = {part for name in names(sentence) for part in re.split(r"\W+", name) if part}
    return ["name"] if parts - known else []


def _polarity(sentence: str, evidence: Sequence[str], question: str) -> tuple[Reason, ...]:
    """Whether a yes or no agrees with all the evidence about the question."""
    says_yes, says_no = _YES.match(sentence), _NO.match(sentence)
    if not says_yes and not says_no:
        return ()
    asked = words(question)
    speaking = [text for text in evidence if _share(asked, text) >= SPEAKS_OF]
    denied = {_denies(_nearest(question, text)) != _denies(question) for text in speaking}
    return () if denied == {bool(says_no)} else ("polarity",)


def _deny_alike(sentence: str, text: str, share: float) -> bool:
    """Whether both deny the same. A near copy must have every negation of the original."""
    if share >= NEAR_COPY:
        return negations(sentence) == negations(text)
    return _denies(sentence) == _denies(text)


def _denies(text: str) -> bool:
    """Whether the main clause denies. What "those who cannot swim" can is said of them alone."""
    return negations(_main(text)) % 2 == 1


def _main(text: str) -> str:
    main = _SUBORDINATE.split(text, maxsplit=1)[0]
    return main if len(main.split()) >= MAIN_WORDS else text


def _nearest(sentence: str, text: str) -> str:
    """The sentence of the text that shares most words with this one."""
    parts = [part for part in _ENDS.split(text) if part.strip()]
    said = words(sentence)
    return max(parts or [text], key=lambda part: len(said & words(part)))
