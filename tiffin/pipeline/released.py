"""Holds back what a model writes until it is checked. Used by `rag` and `chat` where a policy asks.

It holds at most one sentence, or 200 characters of a longer one. The first text that the policy
blocks ends the answer: nothing after it leaves, and nothing of it.
"""

import re

from tiffin.core.context import RequestContext
from tiffin.safety.policy import Judge

HOLD_CHARS = 200
MOST_CHARS = 2 * HOLD_CHARS
"""Without a space to cut at, as in a key, more is held, and then it is cut anywhere."""

_END = re.compile(r"[.!?;:。！？]+[\"')\]]*\s+|\n+|[。！？]+")  # noqa: RUF001


class Release:
    """Of one answer.

    `left` is what has left; `stopped` says that the policy ended the answer, `checks` for what.
    """

    def __init__(self, judge: Judge, context: RequestContext) -> None:
        self._judge = judge
        self._context = context
        self._held = ""
        self.left = ""
        self.stopped = False
        self.checks: tuple[str, ...] = ()

    async def add(self, text: str) -> str:
        """Take in the next piece; returns what may leave now."""
        if self.stopped:
            return ""
        self._held += text
        end = _last_end(self._held)
        ready, self._held = self._held[:end], self._held[end:]
        return await self._checked(ready)

    async def finish(self, text: str = "") -> str:
        """The same for the last piece, or for whole sentences: nothing is held back."""
        if self.stopped:
            return ""
        ready, self._held = self._held + text, ""
        return await self._checked(ready)

    async def may_leave(self, text: str) -> bool:
        """Whether a text that cannot be redacted, such as a tool's arguments, may leave."""
        if not text.strip() or self.stopped:
            return not self.stopped
        (said,) = await self._judge.judge([text], self._context)
        self.stopped, self.checks = said.action in {"block", "redact"}, said.checks
        return not self.stopped

    async def _checked(self, text: str) -> str:
        """The sentences that may leave, up to the first that the policy blocks."""
        sentences = _sentences(text)
        if not text.strip():
            self.left += text
            return text
        released = ""
        said = await self._judge.judge(sentences, self._context)
        for sentence, judgement in zip(sentences, said, strict=True):
            if judgement.action == "block":
                self.stopped, self.checks, self._held = True, judgement.checks, ""
                break
            released += judgement.redacted(sentence)
        self.left += released
        return released


def _sentences(text: str) -> list[str]:
    """The sentences of a text, each with the space after it."""
    ends = [found.end() for found in _END.finditer(text)]
    parts = [text[at:end] for at, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    return [part for part in parts if part]


def _last_end(held: str) -> int:
    """How much of it is whole sentences, or too long to hold."""
    ends = [found.end() for found in _END.finditer(held)]
    if ends:
        return ends[-1]
    if len(held) <= HOLD_CHARS:
        return 0
    space = held.rfind(" ")
    return space + 1 if space > 0 else (len(held) if len(held) > MOST_CHARS else 0)
