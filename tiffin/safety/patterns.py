"""Personal data and secrets by their patterns, with the checksums that tell them from other digits.

Called by `tiffin.safety.detector`. Names of people are not found: that needs a model, and none of a
few megabytes is good enough.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LEAST_ENTROPY_BITS = 3.0
"""Per character: what is assigned to a name such as `password` and varies less is a placeholder."""


@dataclass(frozen=True)
class Match:
    """A span of the text, in code points, and what it is."""

    kind: str
    start: int
    end: int


def luhn(text: str) -> bool:
    """Whether the digits of a card number fit its check digit (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [
        digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4)  # noqa: PLR2004
        for place, digit in enumerate(reversed(digits))
    ]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0


def iban(text: str) -> bool:
    """Whether an IBAN fits its check digits (ISO 13616, modulo 97)."""
    plain = text.replace(" ", "").upper()
    number = "".join(str(int(character, 36)) for character in plain[4:] + plain[:4])
    return int(number) % 97 == 1


def varies(text: str) -> bool:
    """Whether the characters are as mixed as those of a key."""
    counts = Counter(text).values()
    bits = -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
    return bits >= LEAST_ENTROPY_BITS


def _any(_: str) -> bool:
    return True


@dataclass(frozen=True)
class _Pattern:
    kind: str
    find: re.Pattern[str]
    holds: Callable[[str], bool] = _any
    group: int = 0


_PERSONAL = (
    _Pattern(
        "email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,4}[a-zA-Z]{2,24}\b")
    ),
    _Pattern("card", re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])"), luhn),
    _Pattern(
        "iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), iban
    ),
    _Pattern("ssn", re.compile(r"\b(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b")),
    _Pattern(
        "phone",
        re.compile(
            r"(?<![\w.+])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"
            r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?!\w)"
        ),
    ),
)
_SECRETS = (
    _Pattern(
        "private_key",
        re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[^-]*(?:-----END [A-Z ]+-----)?"),
    ),
    _Pattern("aws_key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    _Pattern(
        "github_token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,255})\b")
    ),
    _Pattern("api_key", re.compile(r"\bsk-[A-Za-z0-9_-]{20,200}\b"), varies),
    _Pattern("google_key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")),
    _Pattern("slack_token", re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,200}\b")),
    _Pattern("stripe_key", re.compile(r"\b[rs]k_live_[0-9a-zA-Z]{20,200}\b")),
    _Pattern("jwt", re.compile(r"\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}\b")),
    _Pattern(
        "assigned",
        re.compile(
            r"(?i)\b(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\"']?\s*[:=]\s*"
            r"[\"']?([^\s\"',;]{8,200})"
        ),
        varies,
        group=1,
    ),
)


def personal_data(text: str) -> list[Match]:
    """E-mail addresses, card numbers, IBANs, US social security numbers, telephone numbers."""
    return _apart(_PERSONAL, text)


def secrets(text: str) -> list[Match]:
    """Keys and tokens of known makes, private keys, and what is assigned to such a name."""
    return _apart(_SECRETS, text)


def _apart(patterns: tuple[_Pattern, ...], text: str) -> list[Match]:
    """The matches in their order; of those that overlap, the one whose pattern stands first."""
    kept: list[Match] = []
    for match in _found(patterns, text):
        if all(match.end <= other.start or other.end <= match.start for other in kept):
            kept.append(match)
    return sorted(kept, key=lambda match: match.start)


def _found(patterns: tuple[_Pattern, ...], text: str) -> Iterator[Match]:
    for pattern in patterns:
        for found in pattern.find.finditer(text):
            if pattern.holds(found[pattern.group]):
                yield Match(pattern.kind, *found.span(pattern.group))
