"""What the field `moderation` of a chat asks for: scores of its input and output, and blocking.

Made by the routes of chats and responses for one request. It adds to the tenant's own policy and
never takes from it; what the checks said is read once the answer has ended.
"""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tiffin.config.safety import ACTIONS, Action, Check, Policy
from tiffin.core.checks import Part
from tiffin.core.context import RequestContext
from tiffin.core.errors import RECOVERABLE, TiffinError
from tiffin.core.messages import Checked
from tiffin.pipeline.chat_safety import ChatGuard
from tiffin.safety.policy import Checker, Judge

SCORED: tuple[Check, ...] = ("injection", "toxicity")
"""The checks that have scores, which are those of `/v1/moderations`."""


class Scores:
    """Asks the guard for a judge, and keeps the worst that it said; `error` if it failed."""

    def __init__(self, guard: Checker) -> None:
        self._guard = guard
        self.worst = Checked([], {})
        self.error: TiffinError | None = None

    def groups(self, checks: Sequence[Check]) -> list[list[Check]]:
        """As the guard has them."""
        return self._guard.groups(checks)

    async def check(
        self,
        texts: Sequence[str],
        checks: Sequence[Check],
        context: RequestContext,
        *,
        vectors: NDArray[np.float32] | None = None,
        documents: bool = False,
    ) -> list[Checked]:
        """What the guard says of each text. Raises what it raises."""
        try:
            found = await self._guard.check(
                texts, checks, context, vectors=vectors, documents=documents
            )
        except RECOVERABLE as error:
            self.error = error
            raise
        for one in found:
            scores = {
                name: max(score, self.worst.scores.get(name, 0.0))
                for name, score in one.scores.items()
            }
            self.worst = replace(
                self.worst,
                findings=[*self.worst.findings, *one.findings],
                scores=self.worst.scores | scores,
            )
        return found

    async def orders(
        self, sentences: Sequence[str], vectors: NDArray[np.float32], context: RequestContext
    ) -> set[str]:
        """Those of the sentences that give orders to the model."""
        return await self._guard.orders(sentences, vectors, context)


class Moderated:
    """Of one request. `chat` is the tenant's policy; `blocks` are the parts that may be refused."""

    def __init__(self, guard: Checker, chat: ChatGuard, blocks: frozenset[Part]) -> None:
        self._input, self._output = Scores(guard), Scores(guard)
        self.guard = ChatGuard(
            _stricter("input", chat.input, self._input, "input" in blocks),
            _stricter("output", chat.output, self._output, "output" in blocks),
        )

    def said(self) -> tuple[Checked | TiffinError, Checked | TiffinError]:
        """What the checks said of the input and of the output, or why they did not."""
        return self._input.error or self._input.worst, self._output.error or self._output.worst


def _stricter(part: Part, judge: Judge | None, scores: Scores, block: bool) -> Judge:  # noqa: FBT001
    """A judge of the tenant's policy that scores as well, and blocks what is flagged if asked."""
    action: Action = "block" if block else "log"
    policy: Policy = {} if judge is None else dict(judge.policy)
    for check in SCORED:
        policy[check] = max(policy.get(check, action), action, key=ACTIONS.index)
    return Judge(part, policy, scores)
