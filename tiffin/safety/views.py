"""What a text hides: the readings of it that a person does not see and a model understands.

Called by `tiffin.safety.guard`, which embeds them, and by `tiffin.safety.detector`. Text without
such tricks has no other reading, and finding that out costs a few microseconds for a sentence.
"""

import base64
import binascii
import re
import unicodedata
from itertools import islice

from tiffin.core.escapes import ESCAPE, unescaped

MAX_READINGS = 8
"""Of one text. More base64 than this is data, and is not read."""

WINDOW_CHARS = 1000
"""About 230 tokens of English: what the embedding model reads (256) before it truncates."""

MAX_WINDOWS = 16
"""Of one text, from its beginning and its end: what one check embeds at most."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]"
)
TAGS = re.compile("[\U000e0020-\U000e007e]")
BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{20,}={0,2}")
_MIXED = re.compile(r"[^\W\d_]*(?:[a-zA-Z][\u0370-\u04ff]|[\u0370-\u04ff][a-zA-Z])[^\W\d_]*")
_QUOTED = re.compile(
    '["\u201c\u201e\u00ab\u300c]([^"\u201c\u201d\u00bb\u300d\n]{12,400})["\u201c\u201d\u00bb\u300d]'
)
ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u04bb\u0432\u043a"
    "\u043c\u043d\u0442\u03bf\u03b1\u03bd\u03c1\u03b9\u03ba\u03c4\u03c5\u0410\u0412\u0415\u041a"
    "\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406\u0405\u0391\u0392\u0395\u0396\u0397\u0399"
    "\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "aeopcyxijsdwhbkmhtoavpiktuABEKMHOPCTXISABEZHIKMNOPTYX",
)
"""Letters of Cyrillic and Greek that look like Latin ones (Unicode TR 39, the common part)."""


def readings(text: str) -> list[str]:
    """The other readings of a text; none if it hides nothing.

    They are the text without invisible characters, what Unicode's tag characters spell, the text
    with Latin letters in place of those of other alphabets that look like them, JSON with its
    escaped characters, and what base64 in it decodes to.
    """
    found = [unescaped(text)] if ESCAPE.search(text) else []
    if text.isascii():
        return [*found, *_decoded(text)]
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    if tags := "".join(chr(ord(tag) - 0xE0000) for tag in TAGS.findall(text)):
        found.append(tags)
    latin = _MIXED.sub(lambda word: word[0].translate(ALIKE), plain)
    if latin != text:
        found.append(latin)
    return [*found, *_decoded(latin)][:MAX_READINGS]


def quoted(text: str) -> list[str]:
    """What stands within quotation marks in a text, as in prose or in JSON; names are left out."""
    return [found[1] for found in _QUOTED.finditer(unescaped(text)) if " " in found[1].strip()]


def windows(text: str) -> list[str]:
    """The text in parts that the embedding model reads whole, or its first and last ones."""
    parts = [text[at : at + WINDOW_CHARS] for at in range(0, len(text), WINDOW_CHARS)]
    if len(parts) > MAX_WINDOWS:
        half = MAX_WINDOWS // 2
        return [*parts[:half], *parts[-half:]]
    return parts


def _decoded(text: str) -> list[str]:
    """What each run of base64 says, if it is text."""
    said = (decoded(run[0]) for run in BASE64.finditer(text))
    return list(islice((one for one in said if one is not None), MAX_READINGS))


def decoded(run: str) -> str | None:
    """What a run of base64 says; None if that is no text of several words."""
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        said = raw.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return said if said.isprintable() and " " in said else None
