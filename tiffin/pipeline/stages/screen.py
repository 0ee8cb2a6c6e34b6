"""Screen: the question and the passages found, held to the safety policy.

`CheckQuestion` runs beside retrieval, like routing. `Screen` runs once all passages are found, on
those and not on whole documents, with the embeddings that they have anyway.
"""

from collections.abc import Sequence
from dataclasses import replace

from tiffin.core.context import RequestContext
from tiffin.core.errors import CONTENT_FILTER, InvalidRequest, Unavailable
from tiffin.pipeline.question import Candidate, Question, Vector
from tiffin.pipeline.stage import Stage
from tiffin.pipeline.stages.rerank import sources_of
from tiffin.safety.places import places
from tiffin.safety.policy import Judgement, Judges, refusal

MARGIN_CHARS = 200
"""Of the document on either side of a passage: a sentence may be split over two."""

LEFT_OUT = "passages_left_out"
"""What `degraded` says of an answer without passages that were flagged."""


class CheckQuestion(Stage):
    """The question's policy. It blocks with an error before anything is written."""

    name = "check"
    degraded = "check"

    def __init__(self, judges: Judges) -> None:
        super().__init__(0)
        self._judges = judges

    async def run(self, question: Question, context: RequestContext) -> None:
        """Redact the question, or raise InvalidRequest or Unavailable."""
        judge, query = self._judges.of(context.tenant), question.request.query
        if judge is None:
            return
        vectors = None if question.vectors is None else question.vectors[:1]
        (said,) = await judge.judge([query], context, vectors=vectors)
        if said.action == "block":
            raise refusal("input", "query", said)
        if said.spans:
            question.request = question.request.model_copy(update={"query": said.redacted(query)})


class Screen(Stage):
    """The policy of passages: a flagged one is marked, left out, or ends the question."""

    name = "screen"
    degraded = "screen"

    def __init__(self, judges: Judges) -> None:
        super().__init__(0)
        self._judges = judges

    async def run(self, question: Question, context: RequestContext) -> None:
        """Write the candidates that may be read. Raises InvalidRequest if none may."""
        judge, found = self._judges.of(context.tenant), question.candidates
        if judge is None or not found:
            return
        said = await judge.judge(
            [_with_margins(candidate)[0] for candidate in found],
            context,
            vectors=_vectors(question, found),
            documents=True,
        )
        kept: dict[int, Candidate] = {}
        for index, (candidate, judgement) in enumerate(zip(found, said, strict=True)):
            if judgement.action == "block":
                raise refusal("passages", "documents", judgement)
            if judgement.action == "log":
                kept[index] = candidate
            elif judgement.action != "redact":
                kept[index] = _judged(candidate, judgement)
        if len(kept) < len(found):
            question.degraded.append(LEFT_OUT)
        if not kept:
            message = "documents: the safety policy leaves out every passage that was found"
            raise InvalidRequest(message, param="documents", code=CONTENT_FILTER)
        if list(kept.values()) != found:
            question.candidates = list(kept.values())
            if question.logits is not None:
                question.logits = [question.logits[index] for index in kept]
            question.sources = sources_of(question)

    def substitute(self, _: Question) -> None:
        """Only a policy that blocks lets the stage fail, and then nothing stands in for it."""
        raise Unavailable("safety: the passages were not checked", code="safety_unavailable")


def _judged(candidate: Candidate, judgement: Judgement) -> Candidate:
    """The candidate with what was found in it."""
    text, before = _with_margins(candidate)
    spans = places(text, judgement.orders)
    size = len(candidate.passage.text)
    within = tuple((a - before, b - before) for a, b in spans if b > before and a < before + size)
    return replace(candidate, flags=judgement.checks, orders=within)


def _with_margins(candidate: Candidate) -> tuple[str, int]:
    """The passage with what stands around it in its document, and how much stands before it."""
    passage, text = candidate.passage, candidate.document.text
    if passage.document is None:  # of a corpus, whose documents are not at hand
        return passage.text, 0
    start = max(0, passage.start - MARGIN_CHARS)
    return text[start : passage.end + MARGIN_CHARS], passage.start - start


def _vectors(question: Question, found: Sequence[Candidate]) -> Vector | None:
    """The embeddings of the passages found: float32 (len(found), dimensions), if all are there."""
    if question.vectors is None:
        return None
    places = {(one.document, one.start): row for row, one in enumerate(question.passages, start=1)}
    wanted = [(one.passage.document, one.passage.start) for one in found]
    rows = [places[place] for place in wanted if place in places]
    return question.vectors[rows] if len(rows) == len(found) else None
