"""Estimates of tokens that no one has counted."""

CHARS_PER_TOKEN = 4.0
"""Of English text."""


def estimate_tokens(chars: int) -> int:
    """About how many tokens a text of so many characters has."""
    return round(chars / CHARS_PER_TOKEN)
