"""What can be read off a query without any model: the router's explainable features.

Each is a number near 0 to 1, so that they stand beside an embedding's components. Their order is
part of a trained model's file: `tiffin.routing.complexity` refuses one that was made with others.
"""

import math
import re

CODE = re.compile(r"```|\bdef \w+\(|\bclass \w+[:(]|[{};]\s*$|\bSELECT\b.+\bFROM\b", re.MULTILINE)
MATHS = re.compile(
    r"\\frac|\\sum|\\int|\d\s*[-+*/^=]\s*\d|\b(?:prove|derive|integral)\b", re.IGNORECASE
)
REASONING = re.compile(
    r"\b(?:compare|contrast|explain why|step by step|trade-?offs?)\b", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:not|except|never|none|neither|false|incorrect)\b", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|then|suppose|assume|given|unless|whether)\b", re.IGNORECASE)
_SYMBOL = re.compile(r"[=^*/<>∀∃∧\u2228⊃→≡√π]|\\[a-z]+")
_LETTERS = re.compile(r"[^\W\d_]")
_ASCII_LETTERS = re.compile(r"[A-Za-z]")
_OPTIONS = re.compile(r"^\(?[A-D][.)] ", re.MULTILINE)

LONG_CHARS = 4000
LONG_WORDS = 500


def text_features(query: str) -> dict[str, float]:
    """The features of a query by name, always in the same order. Of a long one, of its beginning.

    Takes about 0.2 ms for 500 characters.
    """
    query = query[:LONG_CHARS]
    words = query.split()
    chars = max(1, len(query))
    count = max(1, len(words))
    return {
        "log_chars": math.log1p(chars) / math.log1p(LONG_CHARS),
        "log_words": math.log1p(len(words)) / math.log1p(LONG_WORDS),
        "word_chars": min(1.0, sum(map(len, words)) / count / 10),
        "digits": sum(map(str.isdigit, query)) / chars,
        "symbols": min(1.0, len(_SYMBOL.findall(query)) / count),
        "capitals": sum(map(str.isupper, query)) / chars,
        "lines": math.log1p(query.count("\n")) / 5,
        "questions": min(1.0, query.count("?") / 4),
        "negations": min(1.0, len(_NEGATION.findall(query)) / 3),
        "conditions": min(1.0, len(_CONDITION.findall(query)) / 5),
        "other_script": _other_script(query),
        "options": float(len(_OPTIONS.findall(query)) > 1),
        "code": float(bool(CODE.search(query))),
        "maths": float(bool(MATHS.search(query))),
        "reasoning": float(bool(REASONING.search(query))),
    }


def _other_script(query: str) -> float:
    """The share of letters that are not ASCII."""
    if query.isascii():
        return 0.0
    letters = len(_LETTERS.findall(query))
    return 1 - len(_ASCII_LETTERS.findall(query)) / letters if letters else 0.0
