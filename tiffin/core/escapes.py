"""Reads JSON's escaped characters, for `tiffin.safety` and `tiffin.grounding`."""

import re

ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def unescaped(text: str) -> str:
    """The text with the characters that JSON's escapes stand for."""
    if "\\u" not in text:
        return text
    units = ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
