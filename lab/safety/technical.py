"""Harmless technical prose: what teaches the heads that "model" and "ignore" alone are no attack.

Called by `lab.safety.train` and `lab.safety.left`. It is this project's documentation, and the long
descriptions of the packages that the lock files pin, if their licence allows it. Both are divided
by name, so that no file or package stands on both sides.
"""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from lab.answers.data import Part, part_of

LEAST_CHARS = 200
"""A shorter paragraph is a heading or a line of a list."""

MOST_PARAGRAPHS = 12
"""Of one package, so that none outweighs the others."""

HAND = Path(__file__).parents[2] / "docs"
"""This project's documentation: prose full of orders, about models."""

_ALLOWED = re.compile(r"\b(?:MIT|BSD|Apache|ISC|PSF|Python Software Foundation)\b", re.IGNORECASE)
_OTHER = re.compile(r"GPL|MPL|Mozilla|EUPL|Proprietary", re.IGNORECASE)


def manual(part: Part) -> list[str]:
    """The paragraphs of this project's documentation, by the name of the file."""
    files = sorted(path for path in HAND.rglob("*.md") if part_of(path.name) == part)
    return [one for path in files for one in _paragraphs(path.read_text(encoding="utf-8"))]


def packages(part: Part) -> list[str]:
    """Paragraphs of the descriptions of installed packages, by the name of the package."""
    found = {one.name.lower(): one for one in distributions()}
    chosen = (one for name, one in sorted(found.items()) if name != "tiffin" and _allows(one))
    return [
        paragraph
        for one in chosen
        if part_of(one.name.lower()) == part
        for paragraph in _paragraphs(_description(one))[:MOST_PARAGRAPHS]
    ]


def _description(one: Distribution) -> str:
    return str(one.metadata.json.get("description", ""))


def _allows(one: Distribution) -> bool:
    """Whether its licence is MIT, BSD, Apache, ISC or Python's, and no other."""
    told = one.metadata.json
    classifiers = [line for line in told.get("classifier", ()) if line.startswith("License")]
    said = str(told.get("license_expression") or " ".join(classifiers) or told.get("license", ""))
    return bool(_ALLOWED.search(said)) and not _OTHER.search(said)


def _paragraphs(text: str) -> list[str]:
    return list(dict.fromkeys(part for part in _split(text) if len(part) > LEAST_CHARS))


def _split(text: str) -> Iterator[str]:
    return (part.strip() for part in text.replace("\r\n", "\n").split("\n\n"))
