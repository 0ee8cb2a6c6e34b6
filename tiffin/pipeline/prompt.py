"""Writes the prompt: the evidence, then the question.

The most relevant text stands last, next to the question, and nothing else is asked of the model
than to answer: small models read best what they read last, and mix up what they read before it.
"""

from collections.abc import Sequence

from models.values import ChatMessage

_TASK = "Answer in one or two short sentences, using only the text above."


def rag_messages(query: str, texts: Sequence[str]) -> list[ChatMessage]:
    """The conversation to complete. `texts` come most relevant first."""
    evidence = "\n\n".join(reversed(texts))
    return [ChatMessage("user", f"{evidence}\n\n{_TASK}\nQuestion: {query}")]
