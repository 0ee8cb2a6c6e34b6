"""The sentence gate between a model and the client: a sentence leaves once it is checked.

In `strict` mode a sentence that the evidence does not support is replaced by the quotes that
answer, once, and left out after that; in `mark` mode it leaves and the answer says so. Without
evidence, or with grounding off, text leaves as it comes.
"""

from tiffin.grounding.quote import BETWEEN, answer_of, quotes
from tiffin.grounding.sentences import split_sentences
from tiffin.grounding.support import check
from tiffin.pipeline.question import Question

UNSUPPORTED = "unsupported"
"""What `degraded` says of an answer with sentences that the documents do not support."""


class SentenceGate:
    """Of one answer. Holds back at most one sentence."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._evidence = [one.text for one in question.evidence]
        self._open = question.grounding == "off" or not self._evidence
        self._held = ""
        self._after_gap = False

    def release(self, text: str) -> str:
        """Take in the next piece of the answer; returns what may leave now."""
        if self._open:
            return self._write(text)
        self._held += text
        found = split_sentences(self._held)
        if len(found) < 2:  # noqa: PLR2004  the last one may go on
            return ""
        cut = found[-1].start
        ready, self._held = self._held[:cut], self._held[cut:]
        return self._write(self._checked(ready))

    def finish(self) -> str:
        """The model has ended: what may leave of the rest. Adds quotes if nothing has left."""
        ready, self._held = self._held, ""
        text = self._write(self._checked(ready)) if ready else ""
        if not self._question.draft.text.strip() and self._evidence:
            text += self._write(self._quotes())
        return text

    def _write(self, text: str) -> str:
        self._question.draft.text += text
        return text

    def _checked(self, text: str) -> str:
        """The sentences of the text that may leave, as they stand in it."""
        question, query = self._question, self._question.request.query
        released, at = "", 0
        for sentence in split_sentences(text):
            gap, at = text[at : sentence.start], sentence.end
            if check(sentence.text, self._evidence, query).supported:
                released += gap + sentence.text
                continue
            if UNSUPPORTED not in question.degraded:
                question.degraded.append(UNSUPPORTED)
            if question.grounding == "mark":
                released += gap + sentence.text
            elif not question.replaced:
                question.replaced += 1
                released += gap + self._quotes() + BETWEEN
            else:
                question.removed += 1
        return released + text[at:]

    def _quotes(self) -> str:
        return answer_of(quotes(self._question.evidence))
