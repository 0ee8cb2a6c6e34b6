"""Plain text, source code, and how bytes become text in any format."""

import codecs
import re
from collections.abc import Iterator

from tiffin.core.sentences import OPENS_A_LINE
from tiffin.corpus.document import Unreadable
from tiffin.corpus.mend import clean, compounds, unwrap
from tiffin.corpus.outline import Outline

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLANK = re.compile(r"\n\s*\n")
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
ENOUGH_TO_GUESS = 1 << 20
"""Bytes from which the encoding is guessed."""


def decode(data: bytes, name: str, declared: str | None = None) -> str:
    """The text in the encoding that its mark, its validity as UTF-8 or its author says; or guessed.

    Raises Unreadable if the bytes are no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data, encoding, name)
    if b"\0" in data[:ENOUGH_TO_GUESS]:
        return _decoded(data, _two_bytes(data[:ENOUGH_TO_GUESS], name), name)
    for encoding in filter(None, ("utf-8", declared)):
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return _decoded(data, _guess(data, name), name)


def _two_bytes(data: bytes, name: str) -> str:
    """UTF-16 without a mark has a zero in most pairs of bytes, always on the same side."""
    low, high = data[::2].count(0), data[1::2].count(0)
    if max(low, high) < len(data) // 5 or min(low, high) > len(data) // 50:
        raise Unreadable(f"{name}: is no text; add a format that is read, or save it as UTF-8")
    return "utf-16-be" if low > high else "utf-16-le"


def _decoded(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"{name}: broken {encoding} at byte {error.start}; save it as UTF-8"
        raise Unreadable(message) from error


def _guess(data: bytes, name: str) -> str:
    from charset_normalizer import from_bytes

    sample = data[:ENOUGH_TO_GUESS]
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    best = from_bytes(sample).best() if controls <= len(sample) // 100 else None
    if best is None:
        message = f"{name}: no text in any encoding that is known; save it as UTF-8"
        raise Unreadable(message)
    return best.encoding


def read_text(data: bytes, name: str, charset: str | None, outline: Outline) -> None:
    """Paragraphs and lists of a plain text, their hard line ends mended."""
    prose(decode(data, name, charset), outline)


def prose(text: str, outline: Outline) -> None:
    """The same of a text that is decoded already: the body of an e-mail."""
    text = clean(text)
    known = compounds(text)
    for block in blocks(text):
        if OPENS_A_LINE.match(block) and "\n" in block and _is_list(block):
            outline.add(unwrap(block, known), "list")
        else:
            outline.add(unwrap(block, known))


def blocks(text: str) -> Iterator[str]:
    """What stands between empty lines."""
    start = 0
    for match in _BLANK.finditer(text):
        if block := text[start : match.start()].strip("\n"):
            yield block
        start = match.end()
    if block := text[start:].strip("\n"):
        yield block


def _is_list(block: str) -> bool:
    lines = [line.strip() for line in block.split("\n")]
    return 2 * sum(OPENS_A_LINE.match(line) is not None for line in lines) >= len(lines)


def read_code(data: bytes, name: str, charset: str | None, outline: Outline) -> None:
    """Source code as it is."""
    outline.add(decode(data, name, charset), "code")
