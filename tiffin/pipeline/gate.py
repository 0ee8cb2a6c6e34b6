"""The sentence gate between a model and the client: a sentence leaves once it is checked.

In `strict` mode a sentence that the evidence does not support is replaced by the quotes that
answer, once, and left out after that; in `mark` mode it leaves and the answer says so. A model that
begins by saying that the text does not answer has declined, and nothing of what it writes leaves.
In `strict` mode, one that begins by copying a sentence other than the best has chosen worse than
the reranker, and the quotes are the whole answer.
Without evidence, or with grounding off, text leaves as it comes.
"""

from tiffin.core.sentences import split_sentences
from tiffin.grounding.quote import BETWEEN, answer_of, quotes
from tiffin.grounding.support import NEAR_COPY, Support, check
from tiffin.pipeline.prompt import declines
from tiffin.pipeline.question import Question

UNSUPPORTED = "unsupported"
"""What `degraded` says of an answer with sentences that the documents do not support."""


class SentenceGate:
    """Of one answer. Holds back one sentence, the one that the model may still go on with."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._evidence = [one.text for one in question.evidence]
        self.checks = question.grounding != "off" and bool(self._evidence)
        self.ended = False
        """Whether nothing more leaves, whatever the model still writes."""
        self._held = ""
        self._gap = ""

    def release(self, text: str) -> str:
        """Take in the next piece of the answer; returns what may leave now."""
        if not self.checks:
            self._question.draft.text += text
            return text
        self._held += text
        found = split_sentences(self._held)
        if len(found) < 2:  # noqa: PLR2004  the last one may go on
            return ""
        ready, self._held = self._held[: found[-1].start], self._held[found[-1].start :]
        return self._checked(ready)

    def finish(self) -> str:
        """The model has ended: what may leave of the rest. Adds quotes if nothing has left."""
        ready, self._held = self._held, ""
        text = self._checked(ready)
        if not self._question.draft.text and self._evidence and not self.ended:
            text = self._leave(self._quotes())
        return text

    def _checked(self, text: str) -> str:
        """The sentences of the text that may leave, with the space that was between them."""
        question, left, at = self._question, "", 0
        if self.ended:
            return ""
        if self.checks and not question.draft.text and declines(text):
            question.declined = self.ended = True
            return ""
        for sentence in split_sentences(text):
            self._gap, at = self._gap + text[at : sentence.start], sentence.end
            support = check(sentence.text, self._evidence, question.request.query)
            if self._copies_another(support):
                question.replaced += 1
                self.ended = True
                return self._leave(self._quotes())
            if support.supported:
                left += self._leave(sentence.text)
                continue
            if UNSUPPORTED not in question.degraded:
                question.degraded.append(UNSUPPORTED)
            if question.grounding == "mark":
                left += self._leave(sentence.text)
            elif question.replaced:
                question.removed += 1
                self._gap = ""
            else:
                question.replaced += 1
                self._gap = BETWEEN
                left += self._leave(self._quotes())
                self._gap = BETWEEN
        self._gap += text[at:]
        return left

    def _copies_another(self, support: Support) -> bool:
        """Whether this beginning of an answer is a copy, and not of the sentence that is best.

        Only if the order of the evidence was measured, which the probability tells.
        """
        question = self._question
        begins = question.grounding == "strict" and not question.draft.text
        copy = support.supported and support.overlap >= NEAR_COPY
        return begins and copy and bool(support.evidence) and question.probability is not None

    def _leave(self, text: str) -> str:
        """Write a text to the answer, after the space before it unless it is the first."""
        draft = self._question.draft
        text = (self._gap or " ") + text if draft.text else text
        self._gap = ""
        draft.text += text
        return text

    def _quotes(self) -> str:
        return answer_of(quotes(self._question.evidence))
