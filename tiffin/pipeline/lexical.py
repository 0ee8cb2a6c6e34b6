"""Finds by shared words what the models find by meaning: the substitute for a model that is away.

The search stage uses it in place of the embedding, and the evidence stage in place of the reranker.
A rare word weighs more than a common one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiffin.grounding.evidence import Evidence, candidates, evidence
from tiffin.grounding.wording import rarity, words
from tiffin.pipeline.question import Question


def overlap(query: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """Float32 (len(texts),): the share of the query's words, by weight, that each text holds."""
    held = [words(text) for text in texts]
    weights = rarity(held)
    unseen = np.log(1 + len(texts))
    asked = {word: weights.get(word, unseen) for word in words(query)}
    total = sum(asked.values()) or 1.0
    shares = [sum(weight for word, weight in asked.items() if word in text) for text in held]
    return np.array(shares, np.float32) / np.float32(total)


def lexical_evidence(question: Question) -> list[Evidence]:
    """Evidence that needs no model."""
    query = question.request.query
    passages = question.as_passages([item.similarity for item in question.candidates])
    found = candidates(query, passages)
    shares = overlap(query, [item.text for item in found]).tolist()
    return evidence(query, found, shares)
