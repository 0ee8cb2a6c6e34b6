"""Splits a text into sentences. Offsets are code points of the text that was given.

`sentencex` (Wikimedia's, in Rust) knows the scripts and abbreviations of some 240 languages. It
leaves two things to us: line ends, which end a sentence in a list or a table but not in wrapped
prose, and sentences that are too long for an encoder to read.
"""

# Patterns hold characters of many scripts; tables of words are read as lines of text.
# ruff: noqa: RUF001, SIM905

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from sentencex import get_sentence_boundaries  # type: ignore[import-untyped]

MAX_SENTENCE_CHARS = 600
"""Longer sentences are cut: about 150 tokens of English, and 400 of a script without spaces."""

PAIRS_CHARS = 200
"""A longer line of JSON is not one sentence, but one for each key."""

WRAPPED_LINE_CHARS = 50
"""A line at least this long that ends within a sentence continues in the next line."""

# A period after one of these does not end a sentence when a digit follows it.
_BEFORE_A_NUMBER = re.compile(
    r"(?:^|[\s(])(?:approx|appr|ca|circa|c|est|max|min|no|nos|nr|num|art|arts|para|sec|ch|fig|figs|"
    r"p|pp|vol|al|incl|excl|resp|tel|ext|abt|bzw|ggf|mind|env|núm|pág|n|op|cit)\.\s*$",
    re.IGNORECASE,
)
# A line may open with these; what follows is the sentence: "1. Open it.", "P.S. It is well."
_OPENING = re.compile(r"\W*(?:\d{1,3}[.)]|(?:[^\W\d_]\.){1,2})\s*")
# A capitalised word this short, or one letter, is an abbreviation if a small letter follows.
_SHORT = re.compile(r"(?:^|\W)(?:[A-ZÀ-Þ][a-z]{0,3}|[^\W\d_])\.\s*$")
_LINE_END = re.compile(r"\n\s*")
# A pair of JSON is a sentence: the library takes all that stands in quotes for one.
_BEFORE_A_KEY = re.compile(r'(?:(?<=["\d\]}el]),|\{)\s*(?="[^"\n]{1,60}"\s*:)')
OPENS_A_LINE = re.compile(r"[-*•‣◦–—|#>]|\d{1,3}[.)]\s|[a-z]\)\s|\S[^\s:]{0,30}:\s")
_CUT = re.compile(r"[;,:،、，；]\s*|\s+")
_WORDLESS = re.compile(r"[\W_]*")

# Words with which a sentence refers to the one before it.
_LEANS = frozenset(
    "it its he his him she her they their them this that these those such both another also "
    "however therefore then otherwise instead there here "
    "er sie es dies diese dieser dieses deren dessen il elle ils elles ce cette ces lui leur "
    "él ella ellos esto este esta estos esso essa lui lei questo questa "
    "ele ela isso deze dit zij hij".split()
)
_LEANING_CHARS = ("它", "他", "她", "这", "那", "其", "それ", "これ", "その", "この", "彼")


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` is `whole[start:end]` of the text that was split, without white space around it."""

    start: int
    end: int
    text: str


def split_sentences(text: str, language: str = "en") -> list[Sentence]:
    """The sentences of the text in order; each holds a letter or a digit."""
    spans = (
        piece
        for line in _lines(text)
        for sentence in _of_line(text, line, language)
        for piece in _pieces(text, sentence)
    )
    return [
        Sentence(start, end, text[start:end])
        for start, end in (_trimmed(text, span) for span in spans)
        if not _WORDLESS.fullmatch(text, start, end)
    ]


Span = tuple[int, int]


def _lines(text: str) -> Iterator[Span]:
    """The text between the line ends that end a sentence."""
    start = 0
    for match in _LINE_END.finditer(text):
        if _ends_a_sentence(text, start, match):
            yield from _pairs(text, start, match.start())
            start = match.end()
    yield from _pairs(text, start, len(text))


def _pairs(text: str, start: int, end: int) -> Iterator[Span]:
    """The line, or if it is a long one of JSON, each key of it with its value."""
    keys = _BEFORE_A_KEY.finditer(text, start, end) if end - start > PAIRS_CHARS else ()
    for match in keys:
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    yield start, end


def _ends_a_sentence(text: str, start: int, line_end: re.Match[str]) -> bool:
    if line_end.group().count("\n") > 1:
        return True
    line_start = max(start, text.rfind("\n", start, line_end.start()) + 1)
    wrapped = line_end.start() - line_start >= WRAPPED_LINE_CHARS
    return not wrapped or OPENS_A_LINE.match(text, line_end.end()) is not None


def _of_line(text: str, line: Span, language: str) -> Iterator[Span]:
    """The library's sentences; those that it splits after an abbreviation are joined again."""
    offset, end = line
    found = get_sentence_boundaries(language, text[offset:end])
    starts = [offset + boundary["start_index"] for boundary in found] or [offset]
    start = offset
    for border in starts[1:]:
        if _goes_on(text, start, border, at_line_start=start == offset):
            continue
        yield start, border
        start = border
    yield start, end


def _goes_on(text: str, start: int, border: int, *, at_line_start: bool) -> bool:
    """Whether what stands before the border is no sentence of its own."""
    if at_line_start and _OPENING.fullmatch(text, start, border):
        return True
    follows, since = text[border : border + 1], max(start, border - 12)
    if follows.isdigit():
        return _BEFORE_A_NUMBER.search(text, since, border) is not None
    return follows.islower() and _SHORT.search(text, since, border) is not None


def _pieces(text: str, span: Span) -> Iterator[Span]:
    """The span in parts that are short enough, cut at a comma or a space if possible."""
    start, end = span
    while end - start > MAX_SENTENCE_CHARS:
        limit = start + MAX_SENTENCE_CHARS
        cuts = [
            match.end() for match in _CUT.finditer(text, start + MAX_SENTENCE_CHARS // 2, limit)
        ]
        cut = cuts[-1] if cuts else limit
        yield start, cut
        start = cut
    yield start, end


def _trimmed(text: str, span: Span) -> Span:
    part = text[slice(*span)]
    start = span[0] + len(part) - len(part.lstrip())
    return start, start + len(part.strip())


def leans(sentence: str) -> bool:
    """Whether the sentence begins with a word that refers to something said before."""
    first = (
        unicodedata.normalize("NFKC", sentence).casefold().lstrip("\"'“„«(-*• ").split(maxsplit=1)
    )
    return bool(first) and (first[0].strip(",.;:") in _LEANS or first[0].startswith(_LEANING_CHARS))
