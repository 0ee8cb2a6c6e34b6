"""Whether the answer to one question answers another one, by the text of both and their evidence.

Called by the `recall` stage before a kept answer is given to a question in other words. Everything
here may only refuse: a difference that is found costs a computation, one that is missed a wrong
answer. docs/cache.md has the figures.
"""

# Tables of words are read as lines of text.
# ruff: noqa: SIM905

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

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
_DIRECTIONS = frozenset("by from into than against".split())
"""Words that say who does something to whom, or where it goes."""
_STOP = (STOP_WORDS - _FOREIGN) | _DIRECTIONS
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
        "rise/fall win/lose won/lost gain/lose north/south northern/southern east/west "
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
        "morning/evening day/night"
    ).split()
)
_OWNS = re.compile(r"\w['’]s?\b")  # noqa: RUF001
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001
_REFERS = re.compile(r"^\W*(?:and|but|or|what about|how about|also|then|what else)\b")
_FIRST = re.compile(r"\b(?:who|whom|whose|when|where|why|how|what|which)\b")
_DURATION = re.compile(
    r"how (?:long|old)|what age|"
    r"how (?:many|much) (?:time|years?|months?|weeks?|days?|hours?|minutes?)"
)
_REASON = re.compile(r"why|how come|(?:what|which) (?:reason|caused|causes)")
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
# Kinds that two wordings of one question may ask for: "where they stayed" is "which hotel".
_ALIKE = frozenset(
    frozenset(pair.split("/")) for pair in "thing/person thing/place thing/what what/manner".split()
)


@dataclass(frozen=True)
class Asked:
    """A question and its evidence, the best sentence first."""

    question: str
    evidence: tuple[str, ...]


def differences(kept: Asked, new: Asked, support: Sequence[str], answer: str) -> list[Reason]:
    """What speaks against giving `answer`, which `support` supports, to the new question.

    `support` are sentences of the kept question's evidence. Empty if nothing speaks against it.
    """
    found = _of_words(kept.question, new.question)
    if not set(support) <= set(new.evidence) or kept.evidence[:1] != new.evidence[:1]:
        found.append("evidence")
    if _changed_copy(kept.question, new.question, " ".join(new.evidence[:1])):
        found.append("scope")
    if _gives_away(kept.question, new.question, answer):
        found.append("given")
    return found


def _of_words(one: str, other: str) -> list[Reason]:
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
    if _reordered(one, other):
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
    said, told = ({stem(word) for word in _TOKEN.findall(fold(text))} for text in (one, other))
    return any(pair & said - told and pair & told - said for pair in _OPPOSITES)


def sought(question: str) -> Sought:
    """What the question asks for, by its first word that asks."""
    folded = re.sub(r"(?<=\w)['’]s\b", " is", fold(question))  # noqa: RUF001
    first = _FIRST.search(folded)
    kind = asks(folded)
    if kind == "yes-no" or first is None:
        return "what" if kind == "other" else kind
    rest = folded[first.start() :]
    for name, pattern in (("reason", _REASON), ("duration", _DURATION), ("thing", _CALLED)):
        if pattern.match(rest):
            return cast("Sought", name)
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


def _content(question: str) -> list[str]:
    """The stems of its content words, in order, without words of politeness."""
    bare = (re.sub(r"['’]s?$", "", word) for word in _TOKEN.findall(fold(question)))  # noqa: RUF001
    stems = (stem(word) for word in bare if word not in _STOP)
    return [word for word in stems if word not in _FILLERS]


def _reordered(one: str, other: str) -> bool:
    """Whether both have the same words in another order: "from A to B" and "from B to A".

    So have "Who killed Kell?" and "Who was killed by Kell?". The same question are "Kell's friends"
    and "the friends of Kell", one whose clause moved behind a comma, and one whose number moved.
    """
    if _turned(one, other):
        return True
    said, told = (
        [word for word in _content(text) if not word[0].isdigit()] for text in (one, other)
    )
    if said == told or sorted(said) != sorted(told):
        return False
    moved = "," in one + other or _OWNS.search(one + other) is not None
    return not (moved and any(said[at:] + said[:at] == told for at in range(len(said))))


def _turned(one: str, other: str) -> bool:
    """Whether the same words have another one that says who does it, or where it goes."""
    said, told = (set(_TOKEN.findall(fold(text))) & _DIRECTIONS for text in (one, other))
    return said != told and sorted(_content(one)) == sorted(_content(other))


def _changed_copy(one: str, other: str, sentence: str) -> bool:
    """Whether the questions are copies but for words that matter in the sentence that answers.

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
