"""Writes the prompt: the passages, then the question.

The most relevant passage stands last, next to the question, and nothing else is asked of the model
than to answer: small models read best what they read last, and mix up what they read before it.
"""

from collections.abc import Sequence

from models.values import ChatMessage
from tiffin.core.values import Source

_TASK = "Answer in one or two short sentences, using only the text above."


def rag_messages(query: str, sources: Sequence[Source]) -> list[ChatMessage]:
    """The conversation to complete. `sources` come most relevant first."""
    passages = "\n\n".join(_passage(source) for source in reversed(sources))
    return [ChatMessage("user", f"{passages}\n\n{_TASK}\nQuestion: {query}")]


def _passage(source: Source) -> str:
    return f"{source.title}: {source.text}" if source.title else source.text
