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

from tiffin.grounding import alike, order, synonyms
from tiffin.grounding.alike import Nearness, Worth
from tiffin.grounding.quantities import dates, numbers
from tiffin.grounding.questions import asks
from tiffin.grounding.wording import STOP_WORDS, fold, names, negations, stem, words

Reason = Literal[
    "evidence", "number", "name", "negation", "opposite", "polarity", "asked", "order", "scope",
    "given", "refers",
]  # fmt: skip

LEAST_COSINE = 0.8
"""Two questions whose embeddings are less alike than this are not compared further."""

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

_OPPOSITES = tuple(
    frozenset(map(stem, pair.split("/")))
    for pair in (
        "first/last most/least before/after oldest/newest oldest/youngest largest/smallest "
        "biggest/smallest highest/lowest best/worst longest/shortest earliest/latest "
        "begin/end start/end start/stop open/close opening/closing increase/decrease "
        "reduce/increase reduced/increased grow/shrink rise/fall win/lose won/lost gain/lose "
        "north/south northern/southern east/west "
        "eastern/western early/late maximum/minimum max/min more/fewer more/less above/below "
        "inside/outside indoor/outdoor include/exclude allow/forbid allowed/banned "
        "allowed/prohibited enable/disable on/off in/out up/down add/remove join/leave "
        "accept/refuse accept/reject approve/reject buy/sell send/receive deposit/withdraw "
        "import/export upload/download install/uninstall lock/unlock safe/unsafe "
        "safe/dangerous legal/illegal possible/impossible cheap/expensive cheapest/dearest "
        "hot/cold high/low old/new old/young male/female men/women boys/girls father/mother "
        "son/daughter son/father brother/sister king/queen husband/wife public/private "
        "internal/external positive/negative advantage/disadvantage benefit/drawback pro/con "
        "with/without support/oppose arrive/depart arrival/departure arrived/left born/died "
        "birth/death borrow/lend push/pull eat/avoid keep/cancel save/delete renew/cancel "
        "upgrade/downgrade landlord/tenant buyer/seller adult/child single/return "
        "domestic/international personal/business present/absent mute/unmute accept/decline "
        "weekday/weekend began/ended begun/ended started/ended starting/ending major/minor "
        "hottest/coldest warm/cold warmest/coldest rich/poor strong/weak heavy/light "
        "fast/slow fastest/slowest full/empty left/right upper/lower majority/minority "
        "teacher/student uncle/aunt nephew/niece true/false right/wrong pass/fail "
        "passed/failed friend/enemy victory/defeat succeed/fail gained/lost entered/left "
        "taller/shorter larger/smaller bigger/smaller higher/lower older/younger "
        "better/worse earlier/later longer/shorter greater/lesser summer/winter "
        "morning/evening day/night day/year"
    ).split()
)
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001
_REFERS = re.compile(r"^\W*(?:and|but|or|what about|how about|also|then|what else)\b")
_FIRST = re.compile(r"\b(?:who|whom|whose|when|where|why|how|what|which)\b")
_DURATION = re.compile(
    r"how (?:long|old)|what age|"
    r"how (?:many|much) (?:time|years?|months?|weeks?|days?|hours?|minutes?)"
)
_REASON = re.compile(r"why|how come|(?:what|which) (?:reason|caused|causes)")
_MEASURE = re.compile(
    r"(?:what|which) (?:is|are|was|were) .{0,40}\b"
    r"(?:number|amount|percentage|share|rate|distance|size|area|depth) (?:of|between|in|that)\b"
)
_MANNER = re.compile(r"(?:what|which) (?:way|manner)\b")
_CALLED = re.compile(r"what (?:is|are|was|were) the names? of|how (?:is|was|were|are) .* called")
_NOUN = re.compile(
    r"(?:what|which) (?!(?:is|are|was|were|did|do|does|can|could|will|would|has|have|had)\b)\w"
)
_PLAIN: dict[str, "Sought"] = {
    "who": "person", "whom": "person", "whose": "person", "when": "time", "where": "place",
    "how": "manner",
}  # fmt: skip

Sought = Literal[
    "yes-no", "reason", "amount", "duration", "time", "person", "place", "manner", "thing", "what"
]
_SOUGHT: tuple[tuple[Sought, re.Pattern[str]], ...] = (
    ("reason", _REASON), ("duration", _DURATION), ("manner", _MANNER), ("thing", _CALLED),
    ("amount", _MEASURE),
)  # fmt: skip
# Kinds that two wordings of one question may ask for: "where they stayed" is "which hotel".
_ALIKE = frozenset(
    frozenset(pair.split("/")) for pair in "thing/person thing/place thing/what what/manner".split()
)


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
    if kept.worth is None or new.worth is None or near.paired is None:
        return not _changed_copy(kept.question, new.question, " ".join(new.evidence[:1]))
    head = alike.shipped()
    return head.probability(compared(kept, new, near)) >= head.threshold(wrong_hits)


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
    if numbers(one) != numbers(other) or dates(one) != dates(other):
        found.append("number")
    if _lacks_name(one, other) or _lacks_name(other, one):
        found.append("name")
    if negations(one) != negations(other):
        found.append("negation")
    if _opposite(one, other):
        found.append("opposite")
    if "yes-no" in {sought(one), sought(other)} and set(_content(one)) != set(_content(other)):
        found.append("polarity")  # "Are dogs allowed?" is "Are dogs banned?" with another answer
    if order.reordered(one, other, _content):
        found.append("order")
    if not _seek_alike(one, other):
        found.append("asked")
    if refers(one) or refers(other):
        found.append("refers")
    return found


def refers(question: str) -> bool:
    """Whether the question leans on something said before it, which is not in its words."""
    return _REFERS.search(fold(question).strip()) is not None


def _lacks_name(one: str, other: str) -> bool:
    """Whether a word of a name in the first is not in the other."""
    said = {part for word in _TOKEN.findall(fold(other)) for part in re.split(r"\W+", word)}
    parts = {part for name in names(one) for part in re.split(r"\W+", name) if len(part) > 1}
    return bool(parts - said - STOP_WORDS)


def _opposite(one: str, other: str) -> bool:
    """Whether one has a word and the other its opposite."""
    said, told = (set(_TOKEN.findall(fold(text))) for text in (one, other))
    if any(synonyms.opposite(word, new) for word in said - told for new in told - said):
        return True
    said, told = ({stem(word) for word in text} for text in (said, told))
    return any(pair & said - told and pair & told - said for pair in _OPPOSITES)


def sought(question: str) -> Sought:
    """What the question asks for, by its first word that asks."""
    folded = re.sub(r"(?<=\w)['’]s\b", " is", fold(question))  # noqa: RUF001
    first = _FIRST.search(folded)
    kind = asks(folded)
    if kind == "yes-no" or first is None:
        return "what" if kind == "other" else kind
    rest = folded[first.start() :]
    for name, pattern in _SOUGHT:
        if pattern.match(rest):
            return name
    kind = asks(rest)
    if kind == "amount":
        return kind
    if plain := _PLAIN.get(first.group()):
        return plain
    if kind in {"time", "place"} and _NOUN.match(rest):
        return kind
    return "thing" if _NOUN.match(rest) else "what"


def _seek_alike(one: str, other: str) -> bool:
    kinds = frozenset((sought(one), sought(other)))
    return len(kinds) == 1 or kinds in _ALIKE


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
