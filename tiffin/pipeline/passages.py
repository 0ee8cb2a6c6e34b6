"""Splits documents into passages that an encoder reads whole. First stage of the pipeline."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tiffin.core.values import Document

MAX_PASSAGE_CHARS = 1000
"""About 230 tokens of English: what all-MiniLM-L6-v2 reads (256) before it truncates."""

# Where a passage may end, best first: a paragraph, a sentence, a word.
_BREAKS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+|(?<=[。！？])"),  # noqa: RUF001  full-width ends
    re.compile(r"\s+"),
)


@dataclass(frozen=True)
class Passage:
    """A span of a document: `text` is `document.text[start:end]`."""

    document: int
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


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of at most MAX_PASSAGE_CHARS, trimmed, that together hold all but white space."""
    start = 0
    while True:
        start += len(text[start:]) - len(text[start:].lstrip())
        if start >= len(text):
            return
        end = start + _cut(text[start : start + MAX_PASSAGE_CHARS + 1])
        yield start, start + len(text[start:end].rstrip())
        start = end


def _cut(window: str) -> int:
    """How much of the window makes a passage: up to its last good break in the second half."""
    if len(window) <= MAX_PASSAGE_CHARS:
        return len(window)
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(window, MAX_PASSAGE_CHARS // 2)]
        usable = [end for end in ends if end <= MAX_PASSAGE_CHARS]
        if usable:
            return usable[-1]
    return MAX_PASSAGE_CHARS
