"""Mends extracted text before it is indexed: ligatures, invisible characters, broken lines.

`outline.py` cleans every part with it, and the readers of formats with hard line ends (PDF, plain
text, e-mail) join their lines.
"""

# Tables hold characters that look alike, or like nothing.
# ruff: noqa: RUF001

import re
import unicodedata
from collections.abc import Collection
from itertools import pairwise

from tiffin.core.sentences import OPENS_A_LINE, WRAPPED_LINE_CHARS

HYPHENS = "-‐"
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_LINE_ENDS = re.compile("\r\n?|[\u0085\u2028\u2029\v\f]")
# Soft hyphens, zero-width spaces, marks of direction, tags: what no reader of the document sees.
_INVISIBLE = re.compile(
    "[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]"
)
_ANY_SPACE = re.compile(f"[{_SPACES}]")
_UGLY = re.compile(
    f"[ﬀ-ﬆ{_SPACES}]|{_LINE_ENDS.pattern}|{_INVISIBLE.pattern}",
)
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-‐]$")
_COMPOUND = re.compile(r"\b[^\W\d_]{1,40}[-‐][^\W\d_]{1,40}")
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
WIDE_LINE_CHARS = 25
"""The same as WRAPPED_LINE_CHARS, for scripts whose characters are twice as wide."""
FULL = 0.75
"""A line has to fill this share of the longest one to be continued by the next."""


def clean(text: str) -> str:
    """The text in NFC, with plain spaces and line ends, no ligatures and nothing invisible."""
    if _UGLY.search(text):
        text = _LINE_ENDS.sub("\n", text)
        text = _ANY_SPACE.sub(" ", _INVISIBLE.sub("", text))
        text = re.sub("[ﬀ-ﬆ]", lambda match: _LIGATURES[match.group()], text)
    return unicodedata.normalize("NFC", text)


def compounds(text: str) -> frozenset[str]:
    """The hyphenated words that stand within a line: their hyphen stays at a line end, too."""
    return frozenset(word.lower() for word in _COMPOUND.findall(text))


def unwrap(block: str, known: Collection[str] = (), longest: int | None = None) -> str:
    """A paragraph with its hard line ends taken out, and the words mended that they broke.

    Lines of an address, a poem or a list stay lines. `longest` is the length of a full line, if it
    is known from more than this block. `known` has the document's hyphenated words in lower case.
    """
    lines = [line.strip() for line in block.split("\n")]
    full = longest or max(map(len, lines))
    joined = lines[:1]
    for last, line in pairwise(lines):
        if not line or not last:
            joined.append(line)
        elif _broken_word(last, line):
            joined[-1:] = [mended(joined[-1], line, known)]
        elif _continues(last, line, full):
            joined += ["" if _WIDE.match(last[-1]) and _WIDE.match(line) else " ", line]
        else:
            joined += ["\n", line]
    return "".join(joined)


def _broken_word(last: str, line: str) -> bool:
    return _HYPHEN.search(last) is not None and line[:1].islower()


def mended(before: str, after: str, known: Collection[str] = ()) -> str:
    """Both joined: a word that a hyphen broke at the line end is whole again."""
    first, second = before.rsplit(maxsplit=1)[-1], re.split(r"[^\w]", after, maxsplit=1)[0]
    stays = f"{first}{second}".lower().replace("‐", "-").lstrip("\"'(“„«") in known
    return before + after if stays else before[:-1] + after


def _continues(last: str, line: str, full: int) -> bool:
    least = WIDE_LINE_CHARS if _WIDE.search(last) else WRAPPED_LINE_CHARS
    return full >= least and len(last) >= FULL * full and OPENS_A_LINE.match(line) is None
