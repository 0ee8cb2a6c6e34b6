"""The router's explainable features: what a query's text tells without any model.

Their order is part of a trained model's file: `tiffin.routing.complexity` refuses a file that was
made with other features. Features of multiple-choice questions are 0 for any other question.
"""

import math
import re
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, pstdev

CODE = re.compile(
    # A line that ends like code and holds no backslash or dollar sign: that would be LaTeX.
    r"```|\bdef \w+\(|\bclass \w+[:(]|^[^\\$\n]*[{};]\s*$|\bSELECT\b.+\bFROM\b",
    re.MULTILINE,
)
MATHS = re.compile(
    r"\\frac|\\sum|\\int|\d\s*[-+*/^=]\s*\d|\b(?:prove|derive|integral)\b", re.IGNORECASE
)
REASONING = re.compile(
    r"\b(?:compare|contrast|explain why|step by step|trade-?offs?)\b", re.IGNORECASE
)
_SYMBOL = re.compile(r"[=^*/<>∀∃∧\u2228⊃→≡√π]|\\[a-z]+")
_LETTERS = re.compile(r"[^\W\d_]")
_ASCII_LETTERS = re.compile(r"[A-Za-z]")
_WORD = re.compile(r"[A-Za-z]+")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_YEAR = re.compile(r"\b(?:1\d{3}|20[0-2]\d)\b")
_ROMAN = re.compile(r"\b(?:I|II|III)\b")
_STRESSED = re.compile(r"\b(?:EXCEPT|NOT|LEAST)\b")
_FIRST_PERSON = re.compile(r"\b(?:I|my|me)\b")
_CHOICE = re.compile(r"^\(?[A-D][.)] (.*?)(?=^\(?[A-D][.)] |^Answer:|\Z)", re.MULTILINE | re.DOTALL)
_FIRST_CHOICE = re.compile(r"^\(?A[.)] ", re.MULTILINE)

_NEGATIONS = frozenset({"not", "except", "never", "none", "neither", "false", "incorrect"})
_CONDITIONS = frozenset({"if", "then", "suppose", "assume", "given", "unless", "whether"})
_ASKED = ("what", "how", "why", "who", "when")
_PEOPLE = frozenset({"he", "she", "his", "her", "him", "they", "who"})
_ARTICLES = frozenset({"the", "a", "an"})
_ABOVE = ("of the above", "none of", "all of")
_MOSTLY_DIGITS = 2
"""Letters that a number may contain, as its unit or variable."""

LONG_CHARS = 2000
LONG_WORDS = 500


def text_features(query: str) -> dict[str, float]:
    """The features of a query by name, always in the same order.

    Only the beginning of a long query is read. Takes about 0.2 ms for 500 characters.
    """
    query = query[:LONG_CHARS]
    words = query.split()
    chars = max(1, len(query))
    count = max(1, len(words))
    choices = [choice.strip() for choice in _CHOICE.findall(query)]
    features = {
        "log_chars": math.log1p(chars) / math.log1p(LONG_CHARS),
        "log_words": math.log1p(len(words)) / math.log1p(LONG_WORDS),
        "word_chars": min(1.0, sum(map(len, words)) / count / 10),
        "digits": sum(map(str.isdigit, query)) / chars,
        "symbols": min(1.0, len(_SYMBOL.findall(query)) / count),
        "capitals": sum(map(str.isupper, query)) / chars,
        "lines": math.log1p(query.count("\n")) / 5,
        "questions": min(1.0, query.count("?") / 4),
        "other_script": other_script(query),
        "options": float(len(choices) > 1),
        "code": float(bool(CODE.search(query))),
        "maths": float(bool(MATHS.search(query))),
        "reasoning": float(bool(REASONING.search(query))),
    }
    start = _FIRST_CHOICE.search(query) if len(choices) > 1 else None
    question = query[: start.start()] if start else query
    of_choices = _of_choices(question, choices) if choices else _OF_NO_CHOICES
    return features | _of_words(query) | _of_question(question) | of_choices


def other_script(query: str) -> float:
    """The share of letters that are not ASCII."""
    if query.isascii():
        return 0.0
    letters = len(_LETTERS.findall(query))
    return 1 - len(_ASCII_LETTERS.findall(query)) / letters if letters else 0.0


def _of_words(query: str) -> dict[str, float]:
    """Features of all words, most of them as shares."""
    words = _WORD.findall(query)
    lower = [word.lower() for word in words]
    count = max(1, len(words))
    return {
        "negations": min(1.0, sum(word in _NEGATIONS for word in lower) / 3),
        "conditions": min(1.0, sum(word in _CONDITIONS for word in lower) / 5),
        "capitalised": sum(word[0].isupper() for word in words) / count,
        "unique": len(set(lower)) / count,
        "people": sum(word in _PEOPLE for word in lower) / count,
        "articles": sum(word in _ARTICLES for word in lower) / count,
        "latex": float("$" in query or "\\" in query),
        "years": float(bool(_YEAR.search(query))),
    }


def _of_question(question: str) -> dict[str, float]:
    """Features of the question without its choices: its form and what it asks for."""
    lower = question.lower()
    words = set(_WORD.findall(lower))
    end = question.rstrip()[-1:]
    sentences = max(1, len(_SENTENCE_END.findall(question)))
    return {
        "question_chars": math.log1p(len(question)),
        "sentence_words": math.log1p(len(question.split()) / sentences),
        "blank": float("___" in question),
        "stressed": float(bool(_STRESSED.search(question))),
        "statements": float("Statement 1" in question or "Statement 2" in question),
        "ends_with_colon": float(end == ":"),
        "ends_with_question": float(end == "?"),
        "which_of": float("which of the following" in lower),
        "quotes": float('"' in question),
        "first_person": float(bool(_FIRST_PERSON.search(question))),
        **{name: float(name in words) for name in _ASKED},
    }


def _of_choices(question: str, choices: Sequence[str]) -> dict[str, float]:
    """Features of the choices: their length, likeness and kind."""
    lengths = [len(choice) for choice in choices] or [0]
    words = [set(choice.lower().split()) for choice in choices]
    asked = set(question.lower().split())
    lower = [choice.lower() for choice in choices]
    return {
        "choice_chars": math.log1p(fmean(lengths)),
        "choice_spread": math.log1p(pstdev(lengths) if choices else 0.0),
        "choice_digits": _share([any(map(str.isdigit, choice)) for choice in choices]),
        "choice_numbers": _share(
            [sum(map(str.isalpha, choice)) <= _MOSTLY_DIGITS for choice in choices]
        ),
        "choice_above": float(any(above in choice for choice in lower for above in _ABOVE)),
        "choice_roman": float(any(map(_ROMAN.search, choices))),
        "choice_in_question": _share([len(own & asked) / max(1, len(own)) for own in words]),
        "choices_alike": _share(
            [len(a & b) / max(1, len(a | b)) for a, b in combinations(words, 2)]
        ),
    }


def _share(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


_OF_NO_CHOICES = _of_choices("", [])
