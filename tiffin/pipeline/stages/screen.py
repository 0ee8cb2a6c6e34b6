"""Screen: the question and the passages found, held to the safety policy.

`CheckQuestion` runs beside retrieval, like routing. `Screen` runs once all passages are found, on
those and not on whole documents, with the embeddings that they have anyway.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tiffin.core.context import RequestContext
from tiffin.core.errors import CONTENT_FILTER, InvalidRequest, Unavailable
from tiffin.core.sentences import split_sentences
from tiffin.pipeline.question import Candidate, Question, Vector
from tiffin.pipeline.stage import Stage
from tiffin.pipeline.stages.rerank import sources_of
from tiffin.safety.policy import Judge, Judges, refusal

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
            [_with_margins(candidate) for candidate in found],
            context,
            vectors=_vectors(question, found),
            documents=True,
        )
        kept: dict[int, Candidate] = {}
        for index, (candidate, judgement) in enumerate(zip(found, said, strict=True)):
            if judgement.action == "block":
                raise refusal("passages", "documents", judgement)
            if judgement.action == "mark":
                kept[index] = replace(candidate, flags=judgement.checks)
            elif judgement.action != "redact":
                kept[index] = candidate
        question.orders = await _orders(judge, kept.values(), context)
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


async def _orders(
    judge: Judge, kept: Iterable[Candidate], context: RequestContext
) -> frozenset[str]:
    """The sentences of marked passages that are flagged by themselves: they are no evidence."""
    marked = [one.passage.text for one in kept if one.flags]
    if not marked:
        return frozenset()
    parts = [part.text for text in marked for part in split_sentences(text)]
    return frozenset(await judge.worst(parts, context))


def _with_margins(candidate: Candidate) -> str:
    passage, text = candidate.passage, candidate.document.text
    if passage.document is None:  # of a corpus, whose documents are not at hand
        return passage.text
    return text[max(0, passage.start - MARGIN_CHARS) : passage.end + MARGIN_CHARS]


def _vectors(question: Question, found: Sequence[Candidate]) -> Vector | None:
    """The embeddings of the passages found: float32 (len(found), dimensions), if all are there."""
    if question.vectors is None:
        return None
    places = {(one.document, one.start): row for row, one in enumerate(question.passages, start=1)}
    wanted = [(one.passage.document, one.passage.start) for one in found]
    rows = [places[place] for place in wanted if place in places]
    return question.vectors[rows] if len(rows) == len(found) else None
