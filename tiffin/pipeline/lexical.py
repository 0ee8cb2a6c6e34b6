"""Finds by shared words what the models find by meaning: the substitute for a model that is away.

The search stage uses it in place of the embedding, and the draft in place of the answering tier. A
rare word weighs more than a common one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiffin.core.scores import best_first
from tiffin.core.text import rarity, sentences, words
from tiffin.core.values import Source

EXTRACTED_SENTENCES = 2
"""As many as the prompt asks of the model."""


def overlap(query: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """Float32 (len(texts),): the share of the query's words, by weight, that each text holds."""
    held = [words(text) for text in texts]
    weights = rarity(held)
    unseen = np.log(1 + len(texts))
    asked = {word: weights.get(word, unseen) for word in words(query)}
    total = sum(asked.values()) or 1.0
    shares = [sum(weight for word, weight in asked.items() if word in text) for text in held]
    return np.array(shares, np.float32) / np.float32(total)


def extract(query: str, sources: Sequence[Source]) -> str:
    """The sentences of the sources that share most with the query, in the order of relevance."""
    found = list(dict.fromkeys(text for source in sources for _, _, text in sentences(source.text)))
    scores = overlap(query, found)
    best = best_first(scores, EXTRACTED_SENTENCES)
    return " ".join(found[i] for i in best if scores[i] >= scores[best[0]] / 2)
