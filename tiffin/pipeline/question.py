"""One question on its way through the stages: what was asked, and what is known so far."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiffin.cache.remembered import Remembered
from tiffin.core.context import RequestContext
from tiffin.core.messages import RouteDecision
from tiffin.core.scores import sigmoid
from tiffin.core.values import (
    QUOTE,
    Citation,
    Contradiction,
    Document,
    Grounding,
    Prefer,
    RagRequest,
    Route,
    Source,
    Value,
)
from tiffin.corpus.entities import Corpus
from tiffin.grounding.evidence import Evidence
from tiffin.grounding.evidence import Passage as Scored
from tiffin.grounding.language import language_of
from tiffin.grounding.quote import utf16
from tiffin.pipeline.budget import Budget
from tiffin.pipeline.draft import Draft
from tiffin.pipeline.passages import Passage
from tiffin.telemetry.timeline import Timeline

Vector = NDArray[np.float32]

DECISIVE = 0.9
"""From this probability on the quote was right in .980 of 98 test questions of SQuAD."""


@dataclass(frozen=True)
class Candidate:
    """A passage that may answer, and its similarity to the question.

    `flags` are the checks of safety that flagged it, `orders` the spans of it that are no evidence.
    """

    passage: Passage
    document: Document
    similarity: float
    page: int | None = None
    headings: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    orders: tuple[tuple[int, int], ...] = ()
    attributes: Mapping[str, str | float | bool] = field(default_factory=dict)

    @property
    def readable(self) -> str:
        """The passage without the spans that are no evidence."""
        kept, at = "", 0
        for start, end in self.orders:
            kept, at = kept + self.passage.text[at : max(at, start)], max(at, end)
        return kept + self.passage.text[at:]

    @property
    def place(self) -> tuple[int | None, str | None, int]:
        """Its document, and where in it the passage starts."""
        return self.passage.document, self.document.id, self.passage.start


class Recalled(Value):
    """A kept answer, as much of it as does not depend on the request."""

    text: str
    sources: list[Source]
    citations: list[Citation]
    contradictions: list[Contradiction]
    route: Route


@dataclass
class Question:
    """What the stages read and write. One object a request; nothing of it outlives the request.

    `request` has its defaults filled in. `prefer` is `write` if the request names a tier, and turns
    from `decisive` into `quote` if the evidence is. `vectors` (1 + passages, dimensions) holds the
    question's embedding, then those of the passages; None without the embedding. `left_out` are
    passages that were not embedded. `embedded` is set once that is decided. `logits` are the
    reranker's, one a candidate. `evidence` refers to candidates by their position. `declined` says
    that the model read it and found no answer. `recalled` is a kept answer to the same question in
    other words, `doubted` one that is compared with a new one instead, and `generation` that of the
    cache when it was asked. `corpora` are those that were asked, as they were before they were
    searched.
    """

    request: RagRequest
    top_k: int
    top_n: int
    max_tokens: int
    grounding: Grounding
    false_refusals: float
    prefer: Prefer
    context: RequestContext
    documents: Sequence[Document]
    passages: Sequence[Passage]
    budget: Budget
    timeline: Timeline
    degraded: list[str] = field(default_factory=list)
    vectors: Vector | None = None
    embedded: asyncio.Event = field(default_factory=asyncio.Event)
    left_out: Sequence[Passage] = ()
    embedding_tokens: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    logits: list[float] | None = None
    rerank_tokens: int = 0
    sources: list[Source] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    probability: float | None = None
    least_probability: float = 0.0
    replaced: int = 0
    removed: int = 0
    decision: RouteDecision | None = None
    draft: Draft = field(default_factory=Draft)
    citations: list[Citation] = field(default_factory=list)
    declined: bool = False
    recalled: Recalled | None = None
    doubted: Remembered | None = None
    generation: int = -1
    corpora: Sequence[Corpus] = ()

    def judge(self, probability: float, least: float) -> None:
        """Note how likely the documents answer; if `decisive` and likely enough, it is quoted."""
        self.probability, self.least_probability = probability, least
        if self.prefer == "decisive" and probability >= DECISIVE:
            self.prefer = "quote"

    @property
    def is_quoted(self) -> bool:
        """Whether sentences are quoted, and no model is asked."""
        return self.request.model == QUOTE or self.prefer == "quote"

    @property
    def answered(self) -> bool:
        """Whether the documents probably answer. Without a probability, what was found may."""
        if self.declined or not self.candidates:
            return False
        return self.probability is None or self.probability >= self.least_probability

    @property
    def is_refused(self) -> bool:
        """Whether the answer is that the documents do not say; `mark` answers all the same.

        If nothing was found, nothing can be said, and a model that declined has said nothing.
        """
        unsaid = self.grounding == "strict" or self.declined or not self.candidates
        return unsaid and not self.answered

    def languages(self) -> tuple[str, str]:
        """Of the question, and of the best candidate's text."""
        return language_of(self.request.query), language_of(self.candidates[0].passage.text)

    def orders(self) -> dict[int, tuple[tuple[int, int], ...]]:
        """The spans that are no evidence, by the position of the candidate that has them."""
        return {position: one.orders for position, one in enumerate(self.candidates)}

    def as_passages(self, scores: Sequence[float]) -> list[Scored]:
        """The candidates with a score each; `index` is their position."""
        return [
            Scored(position, candidate.passage.text, score)
            for position, (candidate, score) in enumerate(zip(self.candidates, scores, strict=True))
        ]

    def source_of(self, position: int) -> Source:
        """The source of the candidate at this position; it becomes one if it was not."""
        candidate = self.candidates[position]
        for source in self.sources:
            if (source.document, source.document_id, source.start) == candidate.place:
                return source
        score = candidate.similarity if self.logits is None else relevance(self.logits[position])
        source = as_source(len(self.sources) + 1, candidate, score)
        self.sources.append(source)
        return source


def relevance(logit: float) -> float:
    """Relevance from 0 to 1 of one logit."""
    return float(sigmoid(np.array([logit], np.float32))[0])


def as_source(index: int, candidate: Candidate, score: float) -> Source:
    """A candidate as the client sees it."""
    passage, document = candidate.passage, candidate.document
    return Source(
        index=index,
        document=passage.document,
        document_id=document.id,
        title=document.title,
        page=candidate.page,
        headings=list(candidate.headings),
        text=passage.text,
        start=passage.start,
        end=passage.end,
        score=min(1.0, max(0.0, score)),
        similarity=min(1.0, max(0.0, candidate.similarity)),
        flags=list(candidate.flags),
        attributes=dict(candidate.attributes),
    )


def citation(
    answer: str, span: tuple[int, int], source: int, quote: str, support: float
) -> Citation:
    """The citation of that span of the answer, in code points."""
    start, end = span
    return Citation(
        start=start,
        end=end,
        start_utf16=utf16(answer, start),
        end_utf16=utf16(answer, end),
        source=source,
        quote=quote,
        support=support,
    )
