"""The router's rules: what a query's text tells before any model looks at it.

Called by `tiffin.routing.decide`. Every decision names the rule that made it.
"""

import re

from tiffin.routing.features import CODE, LONG_CHARS, MATHS, REASONING, other_script

LONG_QUERY_WORDS = 60
"""A question longer than this brings its own context or asks for several things."""

MANY_FOREIGN_LETTERS = 0.3
"""If this share of the letters is not ASCII, a small model trained on English is out of its
depth."""

# The features have patterns of their own, which the complexity model was trained with.
_WANTS_CODE = re.compile(
    r"\b(?:write|implement|code|program|refactor|debug|fix|optimi[sz]e)\s+(?:(?!to\b)[^\s.?!]+\s+){0,4}"
    r"(?:functions?|scripts?|programs?|class(?:es)?|methods?|algorithms?|quer(?:y|ies)|regex\w*|"
    r"unit tests?|code|python|javascript|typescript|java|rust|golang|c\+\+|sql|bash|html|css)"
    r"(?!\w)",
    re.IGNORECASE,
)
_WANTS_PROOF = re.compile(
    r"(?:^|[.?!\n]\s*)(?:(?:please|can you|could you)\s+)?(?:dis)?prove\b|\bshow that\b|"
    r"\bproof (?:that|by)\b|\bby induction\b",
    re.IGNORECASE,
)


def demand_of(query: str, *, judged: bool = False) -> str | None:
    """Why the query needs the most capable tier, or None.

    If the complexity model has `judged` the query too, mathematics and length are left to it,
    because it learned from thousands of such queries. It saw too little code, reasoning and other
    alphabets.
    """
    if CODE.search(query):
        return "the question contains code"
    if _WANTS_CODE.search(query):
        return "the question asks for code"
    if _WANTS_PROOF.search(query):
        return "the question asks for a proof"
    if REASONING.search(query):
        return "the question asks for reasoning"
    if other_script(query[:LONG_CHARS]) > MANY_FOREIGN_LETTERS:
        return "the question is not in the Latin alphabet"
    return None if judged else _demand_if_unjudged(query)


def _demand_if_unjudged(query: str) -> str | None:
    if MATHS.search(query):
        return "the question contains mathematics"
    if len(query.split()) > LONG_QUERY_WORDS:
        return f"the question is longer than {LONG_QUERY_WORDS} words"
    return None
