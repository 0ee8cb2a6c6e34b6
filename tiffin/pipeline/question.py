"""One question on its way through the stages: what was asked, and what is known so far."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiffin.core.context import RequestContext
from tiffin.core.messages import RouteDecision
from tiffin.core.values import Citation, Document, RagRequest, Source
from tiffin.pipeline.budget import Budget
from tiffin.pipeline.draft import Draft
from tiffin.pipeline.passages import Passage
from tiffin.telemetry.timeline import Timeline

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """A passage that may answer, and its similarity to the question."""

    passage: Passage
    document: Document
    similarity: float


@dataclass
class Question:
    """What the stages read and write. One object a request; nothing of it outlives the request.

    `request` has its defaults filled in. `vectors` (1 + passages, dimensions) holds the question's
    embedding, then those of the passages; None without the embedding. `embedded` is set once that
    is decided.
    """

    request: RagRequest
    top_k: int
    top_n: int
    max_tokens: int
    context: RequestContext
    documents: Sequence[Document]
    passages: Sequence[Passage]
    budget: Budget
    timeline: Timeline
    degraded: list[str] = field(default_factory=list)
    vectors: Vector | None = None
    embedded: asyncio.Event = field(default_factory=asyncio.Event)
    embedding_tokens: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    rerank_tokens: int = 0
    sources: list[Source] = field(default_factory=list)
    decision: RouteDecision | None = None
    draft: Draft = field(default_factory=Draft)
    citations: list[Citation] = field(default_factory=list)
