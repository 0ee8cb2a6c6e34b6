"""Writes the prompt: the evidence, then the question; and knows a model's way to say no.

The most relevant text stands last, next to the question, and nothing else is asked of the model
than to answer: small models read best what they read last, and mix up what they read before it.
"""

import re
from collections.abc import Sequence

from models.values import ChatMessage

_TASK = "Answer in one or two short sentences, using only the text above."

_DECLINES = re.compile(
    r"\W*(the )?(given |provided )?(text|document|passage|context)s?( above)? "
    r"(do|does) ?(not|n['\u2019]t) (say|mention|specify|state|provide|answer|contain|give)\b",
    re.IGNORECASE,
)


def rag_messages(query: str, texts: Sequence[str]) -> list[ChatMessage]:
    """The conversation to complete. `texts` come most relevant first."""
    evidence = "\n\n".join(reversed(texts))
    return [ChatMessage("user", f"{evidence}\n\n{_TASK}\nQuestion: {query}")]


def declines(sentence: str) -> bool:
    """Whether a written sentence says that the text does not answer the question."""
    return _DECLINES.match(sentence) is not None
