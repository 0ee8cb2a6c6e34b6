"""Which words mean the same, and which are opposites, by a table taken from WordNet 3.0.

Used by `tiffin.grounding.same` to tell another wording from another question. English only: words
of other languages are not in the table, and mean nothing but themselves.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("synonyms.txt")


class _Words(NamedTuple):
    """The groups that a word is in, its opposites, and the words that irregular forms are of."""

    groups: dict[str, frozenset[int]]
    opposites: dict[str, frozenset[str]]
    irregular: dict[str, str]


def same(one: str, other: str) -> bool:
    """Whether two folded words, in any form, can mean the same."""
    words = _words()
    groups = [_groups(word, words) for word in (one, other)]
    return bool(forms(one) & forms(other) or groups[0] & groups[1])


def opposite(one: str, other: str) -> bool:
    """Whether two folded words, in any form, can be opposites."""
    table, said = _words().opposites, forms(other)
    return any(table.get(word, frozenset()) & said for word in forms(one))


def _groups(word: str, words: _Words) -> frozenset[int]:
    return frozenset().union(*(words.groups.get(form, frozenset()) for form in forms(word)))


@cache
def _words() -> _Words:
    """Read when it is first needed: 30 ms, and 3 MB."""
    groups: dict[str, set[int]] = defaultdict(set)
    opposites: dict[str, set[str]] = defaultdict(set)
    irregular: dict[str, str] = {}
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines()):
        mark, *rest = line.split()
        if mark == "=":
            for word in rest:
                groups[word].add(number)
        elif mark == "!":
            opposites[rest[0]].add(rest[1])
            opposites[rest[1]].add(rest[0])
        elif mark == "~":
            irregular[rest[0]] = rest[1]
    return _Words(
        {word: frozenset(found) for word, found in groups.items()},
        {word: frozenset(found) for word, found in opposites.items()},
        irregular,
    )


def forms(word: str) -> frozenset[str]:
    """The words that this may be a form of, itself among them: "fed", "feeds" and "feeding"."""
    found = {word, _words().irregular.get(word, word)}
    for ending in ("s", "es", "d", "ed", "ing", "r", "er", "st", "est", "ly"):
        if word.endswith(ending) and len(word) - len(ending) > 2:  # noqa: PLR2004
            bare = word.removesuffix(ending)
            found |= {bare, f"{bare}e"} if ending == "ing" else {bare}
            found |= {f"{bare[:-1]}y"} if bare[-1] == "i" else set()
            found |= {bare[:-1]} if bare[-1] == bare[-2] else set()
    return frozenset(found)
