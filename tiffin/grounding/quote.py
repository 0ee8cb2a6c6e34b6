"""The answer without a model: verbatim sentences of the documents, each with its place.

A quote is a span of one passage, so it cannot be made up, put together from parts, or attributed to
the wrong document. Sentences that follow each other are one quote.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from tiffin.grounding.evidence import Evidence
from tiffin.grounding.quantities import quantities
from tiffin.grounding.wording import words

BETWEEN = "\n"
"""What stands between two quotes: never a space, which would make them read as one text."""

BEST = 2
"""Sentences of an answer: the third holds it in two of a hundred questions only."""

BEST_OF_UNSURE = 3
"""Sentences of an answer if the best logit is below SURE_FROM: then a third helps more often."""

SURE_FROM = 0.0

NEXT_DOOR = 5.0
"""Below the best sentence by this much, a logit of another passage is of another matter.

Only if the best is sure, and the two do not contradict each other. On SQuAD's development part .959
of the quotes are then from a passage that answers, .866 without, and as many answers are right.
"""

ABOUT_THE_SAME = 0.3
"""Two sentences that share at least this part of their words are about the same thing."""


@dataclass(frozen=True, slots=True)
class Quote:
    """`text` is `passage[start:end]`, and `answer[at:at + len(text)]` of the answer made of it.

    Offsets are code points; `passage` is the caller's own number of it.
    """

    passage: int
    start: int
    end: int
    text: str
    at: int


def quotes(chosen: Sequence[Evidence], *, limit: int | None = None) -> list[Quote]:
    """The evidence that may be quoted as quotes, best first, neighbours and overlaps made one."""
    spans: list[tuple[Evidence, int, int]] = []
    for item in quotable(chosen, limit=limit):
        spans = _joined(spans, item)
    result: list[Quote] = []
    at = 0
    for item, start, end in spans:
        text = item.passage.text[start:end]
        result.append(Quote(item.passage.index, start, end, text, at))
        at += len(text) + len(BETWEEN)
    return result


def quotable(chosen: Sequence[Evidence], *, limit: int | None = None) -> list[Evidence]:
    """The best evidence, best first: what is quoted, and what a model reads.

    A second sentence of one word is a heading, and left out, as is one that is next door.
    """
    if limit is None:
        sure = max((item.logit for item in chosen), default=SURE_FROM) >= SURE_FROM
        limit = BEST if sure else BEST_OF_UNSURE
    return [
        item
        for item in chosen[:limit]
        if item is chosen[0] or (len(words(item.text)) > 1 and not _is_next_door(item, chosen[0]))
    ]


def _is_next_door(item: Evidence, best: Evidence) -> bool:
    sure, far = best.logit >= SURE_FROM, item.logit < best.logit - NEXT_DOOR
    elsewhere = item.passage is not best.passage
    return sure and far and elsewhere and not _disagree(item.text, best.text)


def _joined(
    spans: Sequence[tuple[Evidence, int, int]], new: Evidence
) -> list[tuple[Evidence, int, int]]:
    """The spans with the new one, merged with all that it touches."""
    start, end = new.start, new.end
    result: list[tuple[Evidence, int, int]] = []
    place = None
    for item, first, last in spans:
        if item.passage is new.passage and _touch(item.passage.text, (first, last), (start, end)):
            start, end = min(start, first), max(end, last)
            place = len(result) if place is None else place
        else:
            result.append((item, first, last))
    result.insert(len(result) if place is None else place, (new, start, end))
    return result


def _touch(text: str, one: tuple[int, int], other: tuple[int, int]) -> bool:
    first, second = sorted((one, other))
    return not text[first[1] : second[0]].strip()


def answer_of(found: Sequence[Quote]) -> str:
    """The quotes as one text, each at its `at`."""
    return BETWEEN.join(quote.text for quote in found)


def utf16(text: str, offset: int) -> int:
    """A code point's offset in the units that JavaScript counts."""
    return offset + sum(char > "\uffff" for char in text[:offset])


def contradictions(chosen: Sequence[Evidence]) -> list[tuple[Evidence, Evidence]]:
    """Pairs from two passages that give different figures, in the same unit, for the same thing.

    Only for naming them to the reader: a text of two years and one of another two years differ
    here as well when their words are the same.
    """
    return [
        (one, other)
        for one, other in combinations(chosen, 2)
        if one.passage.index != other.passage.index and _disagree(one.text, other.text)
    ]


def _disagree(one: str, other: str) -> bool:
    figures, others = (
        {(value, unit) for value, unit in quantities(text) if unit} for text in (one, other)
    )
    units = {unit for _, unit in figures} & {unit for _, unit in others}
    differ = any(
        not {v for v, u in figures if u == unit} & {v for v, u in others if u == unit}
        for unit in units
    )
    said, told = words(one), words(other)
    shared = len(said & told) / max(1, min(len(said), len(told)))
    return differ and shared >= ABOUT_THE_SAME
