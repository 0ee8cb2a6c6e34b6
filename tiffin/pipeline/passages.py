"""Splits documents into passages that an encoder reads whole. First stage of the pipeline.

Nobody counts tokens here, because the tokenizer belongs to the Embedding service. A passage is cut
by an estimate for each script that is right or too high for most texts. Where it is too low, the
service says which texts it did not read to their end, and `Embed` has them cut in two (`halved`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tiffin.core.values import Document

MAX_PASSAGE_CHARS = 1000
"""Of English, about 230 tokens."""

MAX_PASSAGE_TOKENS = 254
"""What all-MiniLM-L6-v2 reads (256) without the two tokens that it adds."""

ENGLISH_LETTER = 0.24
"""Tokens a letter: English words are in the vocabulary, those of other languages are pieced
together."""
LATIN_LETTER = 0.48
DIGIT = 0.55
HANGUL = 1.7
"""An uncased tokenizer takes a syllable apart."""
OTHER = 1.0
"""Tokens a character of other scripts, a mark, a sign or an emoji."""

ENGLISH_WORDS = frozenset(
    ["the", "of", "and", "to", "for", "with", "that", "from", "by", "are", "this", "which", "you"]
)
ENGLISH = 0.05
"""At least this share of an English text's words is among those; usually it is three times that.
The table of `grounding.language` would take a millisecond a document."""

_LANGUAGE_CHARS = 1000
"""So much of a document tells its language."""

# Where a passage may end, best first: a paragraph, a sentence, a word.
_BREAKS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+|(?<=[。！？])"),  # noqa: RUF001  full-width ends
    re.compile(r"\s+"),
)
_TEXT = re.compile(r"\S")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Passage:
    """A span of a document: `text` is `document.text[start:end]`.

    `document` is the position of its document in the request; None if it comes from a corpus.
    """

    document: int | None
    start: int
    end: int
    text: str


def split_documents(documents: Sequence[Document]) -> list[Passage]:
    """All passages of the documents in order. A document of white space only gives none."""
    return [
        Passage(number, start, end, document.text[start:end])
        for number, document in enumerate(documents)
        for start, end in _spans(document.text)
    ]


def halved(passage: Passage) -> list[Passage]:
    """The passage in two or three, each at most 5/8 as long as it was, cut where it is best."""
    most = max(1, len(passage.text) * 5 // 8)
    pieces = []
    start = 0
    while found := _TEXT.search(passage.text, start):
        start = found.start()
        end = start + _cut(passage.text[start : start + most + 1], most)
        text = passage.text[start:end].rstrip()
        place = passage.start + start
        pieces.append(replace(passage, start=place, end=place + len(text), text=text))
        start = end
    return pieces


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of passages, trimmed, that together hold all but white space."""
    tokens = np.cumsum(_tokens(text))
    start = 0
    while found := _TEXT.search(text, start):
        start = found.start()
        before = tokens[start - 1] if start else 0.0
        fitting = int(np.searchsorted(tokens, before + MAX_PASSAGE_TOKENS, side="right")) - start
        most = max(1, min(MAX_PASSAGE_CHARS, fitting))
        end = start + _cut(text[start : start + most + 1], most)
        yield start, start + len(text[start:end].rstrip())
        start = end


def _tokens(text: str) -> NDArray[np.float64]:
    """About how many tokens each character takes, (len(text),)."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    found: NDArray[np.float64] = _table(english=_is_english(text[:_LANGUAGE_CHARS]))[
        np.minimum(codes, 0xFFFF)
    ]
    return found


def _is_english(text: str) -> bool:
    words = _WORD.findall(text.lower())
    return sum(word in ENGLISH_WORDS for word in words) >= ENGLISH * max(1, len(words))


@cache
def _table(*, english: bool) -> NDArray[np.float64]:
    """The estimate for each code point of the basic plane; the last one stands for all others."""
    table = np.full(0x10000, OTHER)
    for code in range(0x250):
        character = chr(code)
        if character.isalpha():
            table[code] = ENGLISH_LETTER if english and character.isascii() else LATIN_LETTER
        elif character.isdigit():
            table[code] = DIGIT
    table[[code for code in range(0x10000) if chr(code).isspace()]] = 0.0
    table[0xAC00:0xD7A4] = HANGUL
    return table


def _cut(window: str, most: int) -> int:
    """How much of the window makes a passage: up to its last good break in the second half."""
    if len(window) <= most:
        return len(window)
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(window, most // 2)]
        usable = [end for end in ends if 0 < end <= most]
        if usable:
            return usable[-1]
    return most
