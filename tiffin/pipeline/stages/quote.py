"""Quote: an answer of verbatim sentences without a model, or a refusal.

It is a tier of its own: free, and done in a few milliseconds once the evidence is there. Every
degradation ends in it.
"""

from collections.abc import Iterator

from tiffin.core.values import QUOTE, RagDelta, RagEvent, RagSources, Route
from tiffin.grounding.language import language_of, refusal
from tiffin.grounding.quote import BETWEEN, answer_of, quotes
from tiffin.pipeline.lexical import lexical_evidence
from tiffin.pipeline.question import Question, Recalled, citation


def quote(question: Question, reason: str) -> Iterator[RagEvent]:
    """The best sentences as the answer, as events: one a quote, its citation with it."""
    if not question.evidence:
        question.evidence = lexical_evidence(question)
    found = quotes(question.evidence)
    question.draft.write(answer_of(found), Route(tier=QUOTE, model=QUOTE, reason=reason))
    question.citations = [
        citation(
            question.draft.text,
            (one.at, one.at + len(one.text)),
            question.source_of(one.passage).index,
            one.text,
            1.0,
        )
        for one in found
    ]
    yield _sources(question)
    for one, cited in zip(found, question.citations, strict=True):
        between = BETWEEN if one.at else ""
        yield RagDelta(text=between + one.text, citations=[cited])


def recalled(question: Question, kept: Recalled) -> Iterator[RagEvent]:
    """Give a kept answer again, with its sources and citations, as events."""
    question.draft.write(kept.text, kept.route)
    question.sources, question.citations = kept.sources, kept.citations
    question.contradictions = kept.contradictions
    yield _sources(question)
    yield RagDelta(text=kept.text, citations=kept.citations)


def refuse(question: Question) -> Iterator[RagEvent]:
    """Say in the question's language that the documents do not answer, as events."""
    reason = "nothing was found"
    if question.candidates:
        probability, least = question.probability or 0.0, question.least_probability
        reason = f"the documents answer with probability {probability:.2f}, below {least:.2f}"
    text = refusal(language_of(question.request.query))
    question.draft.write(text, Route(tier=QUOTE, model=QUOTE, reason=reason))
    yield _sources(question)
    yield RagDelta(text=text)


def _sources(question: Question) -> RagSources:
    return RagSources(
        id=question.context.request_id, sources=question.sources, route=question.draft.route
    )
