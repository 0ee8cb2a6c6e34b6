"""The router's rules: what can be read off a query's text, before any model looks at it.

Called by `tiffin.routing.decide`. Every decision names the rule that made it.
"""

from tiffin.routing.features import CODE, LONG_CHARS, MATHS, REASONING, other_script

LONG_QUERY_WORDS = 60
"""A question this long carries context or several demands of its own."""

MANY_FOREIGN_LETTERS = 0.3
"""From this share of letters outside ASCII on, a small model trained on English is out of its
depth."""


def demand_of(query: str, *, judged: bool = False) -> str | None:
    """Why the query asks for the most capable tier, or None.

    Where the complexity model has `judged` the query too, mathematics and length are left to it: it
    learned from thousands of such queries. Of code, reasoning and other alphabets it saw too few.
    """
    if CODE.search(query):
        return "the question contains code"
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
