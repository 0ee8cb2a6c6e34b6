"""Whether two questions have the same words in other places: "from A to B" and "from B to A".

Used by `tiffin.grounding.same`. So have "Who killed Kell?" and "Who was killed by Kell?", but not
"When did Kell build it?" and "When was it built by Kell?".
"""

import re
from collections.abc import Callable

from tiffin.grounding.wording import fold

DIRECTIONS = frozenset({"by", "from", "into", "than", "against"})
"""Words that say who does something to whom, or where it goes."""

_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|,")  # noqa: RUF001
_OWNS = re.compile(r"\w['’]s?\b")  # noqa: RUF001
_DOES = re.compile(r"\b(?:do|does|did|by)\b(?: (?:the|a|an|his|her|its|their|our|my))?( [^\W_]+)")
_LINKS = frozenset({"of", "in", "on"})
_UNTIL = re.compile(r"\bfrom (?=\d)")
ACT = 2
"""Next to who does it, so many words are what is done and to what: a passive turns them round."""

Reads = Callable[[str], list[str]]
"""The stems of the content words of a text, in order."""


def reordered(one: str, other: str, content: Reads) -> bool:
    """Whether the same words stand in another order, which is not one of those that mean the same.

    A clause may have moved behind a comma, "the friends of Kell" be "Kell's friends", and what Kell
    did be done by Kell.
    """
    said, told = (
        [word for word in content(text) if not word[0].isdigit()] for text in (one, other)
    )
    if sorted(said) != sorted(told):
        return False
    doer = _doer(one, content)
    passive = bool(doer) and doer == _doer(other, content)
    ignored = {"by"} if passive else set()
    if _directions(one) - ignored != _directions(other) - ignored:
        return True
    moved = "," in one + other or _OWNS.search(one + other) is not None
    if said == told or (moved and any(said[at:] + said[:at] == told for at in range(len(said)))):
        return False
    plain = [
        [word for word in _with_links_resolved(text, content) if not passive or word != doer]
        for text in (one, other)
    ]
    turned = len({"by" in _directions(text) for text in (one, other)}) > 1
    if passive and turned and len(plain[0]) <= ACT:
        return False
    return plain[0] != plain[1]


def _directions(text: str) -> set[str]:
    return set(_TOKEN.findall(_UNTIL.sub("", fold(text)))) & DIRECTIONS


def _doer(text: str, content: Reads) -> str:
    """The word after "did", or after "by": who does it, if the question says so."""
    found = {word for match in _DOES.finditer(fold(text)) for word in content(match.group(1))}
    return found.pop() if len(found) == 1 else ""


def _with_links_resolved(text: str, content: Reads) -> list[str]:
    """The content words with "deposits of oil" as "oil deposits"."""
    words: list[str] = []
    waiting: list[str] = []
    for token in _TOKEN.findall(fold(text)):
        if token in _LINKS and words:
            waiting.insert(0, words.pop())
        elif found := [word for word in content(token) if not word[0].isdigit()]:
            words += found
        elif waiting and words:
            words, waiting = words + waiting, []
    return words + waiting
