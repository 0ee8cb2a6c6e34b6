"""Whether the answer to one question answers another one, by the text of both and their evidence.

Called by the `recall` stage before a kept answer is given to a question in other words. Guards that
look for one difference each come first, and a trained head (`tiffin.grounding.alike`) weighs what
they leave. docs/cache.md has the figures.
"""

# Tables of words are read as lines of text.
# ruff: noqa: SIM905

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from tiffin.grounding import alike, order
from tiffin.grounding.alike import Nearness, Worth
from tiffin.grounding.opposites import opposed
from tiffin.grounding.quantities import dates, numbers, rates
from tiffin.grounding.questions import seek_alike, sought
from tiffin.grounding.wording import STOP_WORDS, fold, names, negations, stem, words

Reason = Literal[
    "evidence", "number", "name", "negation", "opposite", "polarity", "asked", "order", "scope",
    "given", "refers",
]  # fmt: skip

LEAST_COSINE = 0.8
"""Two questions whose embeddings are less alike than this are not compared further."""

RULES_FROM = 0.05
"""Rules alone, without the head, are trusted if so many wrong hits are allowed; else only repeats
are served. They were wrong for 2.6 % of the test part's traps, at most 3.3 %."""

COPY_WORDS = 2
"""Two questions that differ by no more content words than these are copies with changes."""

_FOREIGN = frozenset("war die son sin comment pour mine hay".split())
"""Stop words of other languages that mean something in English."""
_STOP = (STOP_WORDS - _FOREIGN) | order.DIRECTIONS
# What may stand for another word: "people" for "dynasty".
_VAGUE = frozenset(map(stem, "people person name place one word".split()))
# Words of politeness, verbs that say little, and what is asked for, which `sought` compares.
_FILLERS = frozenset(
    map(
        stem,
        (
            "please tell know like hi hello hey thanks thank wondering question quick ask want "
            "need okay so would could let wonder say possible price cost fee charge year date "
            "day time number amount person people name called reason way kind type sort happen "
            "place places give gave given make made take took taken mean means word one use used "
            "go goes went find found show shown become became"
        ).split(),
    )
)

_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001
_ADJECTIVE = re.compile(r"(?:(?<=a)ns?|i?ans?|ern|s)$")
_POLITE = re.compile(
    r"^\W*(?:(?:hi|hello|hey)\W+)?(?:please )?"
    r"(?:tell me|let me know|i (?:would|'d) like to know)\b|"
    r"^\W*(?:hi|hello|hey)\b|\bplease\b|\btell me\W*$|\bthank(?:s| you)\W*$"
)
_HELPING = frozenset(
    "am is are was were do does did has have had can could will would shall should may".split()
)
_REFERS = re.compile(r"^\W*(?:and|but|or|what about|how about|also|then|what else)\b")


@dataclass(frozen=True)
class Asked:
    """A question and its evidence, the best sentence first, and what that is worth if it is known.

    `worth` is None of a reranker without readings.
    """

    question: str
    evidence: tuple[str, ...]
    worth: Worth | None = None


@dataclass(frozen=True)
class Kept(Asked):
    """A question that was answered. `support` are the sentences of its evidence for the answer."""

    support: tuple[str, ...] = ()
    answer: str = ""


class _Read(Protocol):
    """What a reranker said of a sentence."""

    @property
    def logit(self) -> float: ...

    @property
    def reading(self) -> float | None: ...


def worth_of(best: _Read) -> Worth | None:
    """What the best sentence is worth; None of a reranker without readings."""
    return None if best.reading is None else Worth(best.logit, best.reading)


def differences(kept: Kept, new: Asked, near: Nearness, wrong_hits: float) -> list[Reason]:
    """What speaks against giving the kept answer to the new question; empty if nothing does."""
    found = exact_differences(kept, new)
    if not found and not is_one(kept, new, near, wrong_hits):
        found.append("scope")
    return found


def agree(one: str, other: str) -> bool:
    """Whether two answers agree in their figures, dates and names, and in what they deny.

    One may give more figures, dates or names than the other.
    """
    told = [(numbers(text), dates(text), names(text)) for text in (one, other)]
    nested = all(a <= b or b <= a for a, b in zip(*told, strict=True))
    return nested and negations(one) % 2 == negations(other) % 2


def exact_differences(kept: Kept, new: Asked) -> list[Reason]:
    """What the guards find that look for one difference each."""
    found = wording_differences(kept.question, new.question)
    if not set(kept.support) <= set(new.evidence) or kept.evidence[:1] != new.evidence[:1]:
        found.append("evidence")
    if _gives_away(kept.question, new.question, kept.answer):
        found.append("given")
    return found


def is_one(kept: Asked, new: Asked, near: Nearness, wrong_hits: float) -> bool:
    """Whether what the guards leave is no more than another wording.

    `wrong_hits` is the share of wrong hits that is allowed (`tiffin.grounding.alike.Head`).
    """
    if repeats(kept.question, new.question):
        return True
    if kept.worth is None or new.worth is None or near.paired is None:
        return wrong_hits >= RULES_FROM and not _changed_copy(
            kept.question, new.question, " ".join(new.evidence[:1])
        )
    head = alike.shipped(confirmed=near.leaning is not None)
    return head.probability(compared(kept, new, near)) >= head.threshold(wrong_hits)


def settled(kept: Asked, new: Asked, near: Nearness, wrong_hits: float) -> bool | None:
    """What `is_one` says whatever an LLM leans to; None if it hangs on that."""
    if kept.worth is None or new.worth is None or near.paired is None:
        return is_one(kept, new, near, wrong_hits)
    least, most = (
        is_one(kept, new, near._replace(leaning=leaning), wrong_hits)
        for leaning in (-alike.MOST, alike.MOST)
    )
    return least if least == most else None


def repeats(one: str, other: str) -> bool:
    """Whether both are the same words in the same order, but for how politely they are said.

    A verb that helps may stand elsewhere: "Tell me how tall it is" repeats "How tall is it?".
    """
    said, told = _plain(one), _plain(other)
    still, same = ([word for word in words if word not in _HELPING] for words in (said, told))
    return sorted(said) == sorted(told) and still == same


def _plain(text: str) -> list[str]:
    """Its words in order, without capital letters, punctuation and words of politeness."""
    return _TOKEN.findall(_POLITE.sub(" ", fold(text)))


def compared(kept: Asked, new: Asked, near: Nearness) -> dict[str, float]:
    """What the head reads. Both questions have a `worth`."""
    assert kept.worth is not None and new.worth is not None  # noqa: S101, PT018
    words = [
        alike.Words(list(_content_words(text)), _VAGUE & set(map(stem, _TOKEN.findall(fold(text)))))
        for text in (kept.question, new.question)
    ]
    return alike.features(words[0], words[1], (kept.worth, new.worth), near)


def wording_differences(one: str, other: str) -> list[Reason]:
    """What the guards find in the two questions alone."""
    found: list[Reason] = []
    if any(of(one) != of(other) for of in (numbers, dates, rates)):
        found.append("number")
    if _lacks_name(one, other) or _lacks_name(other, one):
        found.append("name")
    if negations(one) != negations(other):
        found.append("negation")
    if opposed(set(_TOKEN.findall(fold(one))), set(_TOKEN.findall(fold(other)))):
        found.append("opposite")
    if "yes-no" in {sought(one), sought(other)} and set(_content(one)) != set(_content(other)):
        found.append("polarity")  # "Are dogs allowed?" is "Are dogs banned?" with another answer
    if order.reordered(one, other, _content):
        found.append("order")
    if not seek_alike(one, other):
        found.append("asked")
    if refers(one) or refers(other):
        found.append("refers")
    return found


def refers(question: str) -> bool:
    """Whether the question leans on something said before it, which is not in its words."""
    return _REFERS.search(fold(question).strip()) is not None


def _lacks_name(one: str, other: str) -> bool:
    """Whether a word of a name in the first is not in the other: "Canadian" is "Canada" there."""
    said = {part for word in _TOKEN.findall(fold(other)) for part in re.split(r"\W+", word)}
    said |= {_country(word) for word in said}
    parts = {part for name in names(one) for part in re.split(r"\W+", name) if len(part) > 1}
    return any(_country(part) not in said for part in parts - said - STOP_WORDS)


def _country(word: str) -> str:
    """A name without the ending of its adjective or plural; one that is too short stays."""
    bare = _ADJECTIVE.sub("", word)
    return bare.rstrip("aeio") if len(bare) > 3 else word  # noqa: PLR2004


def _gives_away(one: str, other: str, answer: str) -> bool:
    """Whether the new question already says what the kept answer adds to the kept question."""
    added = words(answer) - words(one)
    return bool(added & (words(other) - words(one)))


def _content(text: str) -> list[str]:
    """The stems of its content words, in order, without words of politeness."""
    return [stem(word) for word in _content_words(text)]


def _content_words(text: str) -> Iterator[str]:
    """The content words themselves, folded."""
    for token in _TOKEN.findall(fold(text)):
        word = re.sub(r"['’]s?$", "", token)  # noqa: RUF001
        if word not in _STOP and stem(word) not in _FILLERS:
            yield word


def _changed_copy(one: str, other: str, sentence: str) -> bool:
    """Whether the questions are copies but for words that matter in the sentence that answers.

    It stands in for the head where the reranker is none that it was made for.

    That is a word of the sentence that is replaced or left out ("puppy" by "kitten"), one that is
    only added and that the sentence does not have, or a single one in the place of another: it may
    be an opposite that no table knows.
    """
    said, told = frozenset(_content(one)), frozenset(_content(other))
    gone, come = said - told, told - said
    if max(len(gone), len(come)) > COPY_WORDS:
        return False
    held = frozenset(_content(sentence))
    if len(gone) == len(come) == 1:
        return True
    return bool(gone & held) if gone else bool(come - held)
