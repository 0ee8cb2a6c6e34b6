"""Which sentences of a text no model of an answer reads, because of the language of a part of them.

`tiffin.pipeline.stages.evidence` leaves them out: neither a score nor a check of such a sentence
means anything. An order in another language hides in quotation marks, in brackets or behind a
colon of an English sentence, so each part is judged by itself, and JSON's escapes are read.
"""

import re
from collections.abc import Iterator

from tiffin.core.escapes import unescaped
from tiffin.core.sentences import split_sentences
from tiffin.grounding.language import function_words, language_of

Span = tuple[int, int]

LEAST_WORDS = 3
"""Fewer words are a name."""

LEAST_PHRASE = 5
"""Words, two of them common ones of another language: fewer are a title ("Les Demoiselles
d'Avignon")."""

LEAST_LETTERS = 8
"""Of another script. A name in brackets has fewer, or fewer words."""

_BORDERS = re.compile(
    r"[\"“”„«»‹›「」『』()\[\]|\n]|(?<!\w)'|'(?!\w)|[.!?;:]+(?:\s+|\Z)|[。！？]"  # noqa: RUF001
)
_WORD = re.compile(r"[^\W\d_]+")
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿฀-๿]")


def unread(text: str, languages: frozenset[str]) -> list[Span]:
    """The spans of the sentences with a part in none of the languages; empty means any language."""
    if not languages:
        return []
    return [
        (sentence.start, sentence.end)
        for sentence in split_sentences(text)
        if not is_read(sentence.text, languages)
    ]


def is_read(sentence: str, languages: frozenset[str]) -> bool:
    """Whether the sentence and each part of it are in one of the languages, as far as they tell."""
    plain = unescaped(sentence)
    if language_of(plain) not in languages:
        return False
    return not any(_is_foreign(part, languages) for part in _parts(plain))


def _parts(sentence: str) -> Iterator[str]:
    """What stands between quotation marks, brackets, and ends of sentences."""
    return (part for part in _BORDERS.split(sentence) if part)


def _is_foreign(part: str, languages: frozenset[str]) -> bool:
    """Whether the part shows by its script or by its commonest words that it is in no such one."""
    found = _WORD.findall(part)
    letters = [char for word in found for char in word if ord(char) > 0x36F]  # noqa: PLR2004
    if len(letters) >= LEAST_LETTERS:
        unspaced = len(_UNSPACED.findall(part)) >= LEAST_LETTERS
        if unspaced or len(found) >= LEAST_WORDS:
            return language_of("".join(letters)) not in languages
    if len(found) < LEAST_WORDS:
        return False
    counts = function_words(found)
    known = max(counts.get(language, 0) for language in languages)
    best = max(counts.values())
    marked = sum(not word.isascii() for word in found)
    if known == 0 and marked:
        return best > 0 or (marked > 1 and len(found) > LEAST_WORDS)
    return best > max(known, 1) and len(found) >= LEAST_PHRASE
