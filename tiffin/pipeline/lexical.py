"""Finds by shared words what the models find by meaning: the substitute for a model that is away.

Used by `retrieve` in place of the embedding, and by `rag` in place of the answering tier. A rare
word weighs more than a common one (inverse document frequency, Sparck Jones 1972).
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiffin.core.values import Source

EXTRACTED_SENTENCES = 2
"""As many as the prompt asks of the model."""

_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W_]+")
_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?](?=\s|$)|[。！？]|(?=\n|$))")  # noqa: RUF001


def overlap(query: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """Float32 (len(texts),): the share of the query's words, by weight, that each text holds."""
    words = [_words(text) for text in texts]
    counts = Counter(word for held in words for word in held)
    weights = {word: math.log(1 + len(texts) / (counts[word] or 1)) for word in _words(query)}
    total = sum(weights.values()) or 1.0
    shares = [sum(weight for word, weight in weights.items() if word in held) for held in words]
    return np.array(shares, np.float32) / np.float32(total)


def extract(query: str, sources: Sequence[Source]) -> str:
    """The sentences of the sources that share most with the query, in the order of relevance."""
    sentences = list(
        dict.fromkeys(match for source in sources for match in _SENTENCE.findall(source.text))
    )
    scores = overlap(query, sentences)
    best = np.argsort(-scores, kind="stable")[:EXTRACTED_SENTENCES]
    return " ".join(sentences[i] for i in best if scores[i] >= scores[best[0]] / 2)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))
