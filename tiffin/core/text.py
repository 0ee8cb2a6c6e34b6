"""Words and sentences of a text, and how much a word weighs. Used wherever texts are compared."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?](?=\s|$)|[。！？]|(?=\n|$))")  # noqa: RUF001
# Each character is a word by itself in scripts that are written without spaces.
_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W_]+")

CHARS_PER_TOKEN = 4.0
"""Of English text, to estimate tokens that no one has counted."""


def words(text: str) -> frozenset[str]:
    """The different words of a text, in lower case."""
    return frozenset(_WORD.findall(text.casefold()))


def sentences(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end (exclusive) and text of each sentence, in code points."""
    for match in _SENTENCE.finditer(text):
        yield match.start(), match.end(), match.group()


def rarity(texts: Sequence[Collection[str]]) -> dict[str, float]:
    """The weight of every word: its inverse document frequency (Sparck Jones 1972)."""
    counts = Counter(word for text in texts for word in text)
    return {word: math.log(1 + len(texts) / count) for word, count in counts.items()}


def estimate_tokens(chars: int) -> int:
    """About how many tokens a text of so many characters has."""
    return round(chars / CHARS_PER_TOKEN)
