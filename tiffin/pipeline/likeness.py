"""Likeness: who is asked whether the answer to one question answers another one, and how.

The stage `recall` asks it of a kept question and a new one, and `tiffin.pipeline.compare` of a pair
of a user's own. The reranker reads both questions. A tier reads them with what supports the kept
answer, if `cache.confirm` names one and the decision hangs on what it says
(`tiffin.grounding.same` decides).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from models.values import GenerateRequest
from tiffin.clients import RerankerClient
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import RECOVERABLE
from tiffin.grounding.alike import Nearness
from tiffin.grounding.same import Asked, Kept, is_one, settled
from tiffin.pipeline.yes_or_no import Example, Leans, yes_or_no

_TASK = "You compare questions about a text."


class Two(NamedTuple):
    """A kept question and a new one, and the cosine of their embeddings."""

    kept: Kept
    new: Asked
    cosine: float


class Verdict(NamedTuple):
    """Whether the kept answer may be given, and whether a tier was asked for it."""

    fits: bool
    asked: bool = False


@dataclass(frozen=True)
class Likeness:
    """Without a reranker, or with one that does not tell, the rules alone decide."""

    reranker: RerankerClient | None = None
    opinion: Leans | None = None

    async def judge(
        self, two: Two, wrong_hits: float, context: RequestContext, until: Deadline
    ) -> Verdict:
        """Whether the kept answer may be given. What fails or is late speaks against it.

        `until` is for those who are asked, the context's deadline for the whole request.
        """
        try:
            near = await self._read(two, replace(context, deadline=until))
        except RECOVERABLE:
            return Verdict(fits=False)
        if self.opinion is None:
            return Verdict(is_one(two.kept, two.new, near, wrong_hits))
        known = settled(two.kept, two.new, near, wrong_hits)
        if known is not None:
            return Verdict(known)
        try:
            near = await self._confirmed(self.opinion, two, near, context, until)
        except RECOVERABLE:
            return Verdict(fits=False, asked=True)
        return Verdict(is_one(two.kept, two.new, near, wrong_hits), asked=True)

    async def near(self, two: Two, context: RequestContext) -> Nearness:
        """What all say who can be asked. Raises TiffinError."""
        near = await self._read(two, context)
        if self.opinion is None or near.paired is None:
            return near
        return await self._confirmed(self.opinion, two, near, context, context.deadline)

    async def _read(self, two: Two, context: RequestContext) -> Nearness:
        if self.reranker is None:
            return Nearness(two.cosine)
        asked, again = two.kept.question, two.new.question
        return Nearness(two.cosine, await self.reranker.paired(asked, again, context))

    @staticmethod
    async def _confirmed(
        opinion: Leans, two: Two, near: Nearness, context: RequestContext, until: Deadline
    ) -> Nearness:
        request = question_for(two.kept, two.new.question)
        return near._replace(leaning=await opinion.leaning(request, context, until))


def question_for(kept: Kept, again: str) -> GenerateRequest:
    """What the tier reads."""
    return yes_or_no(_TASK, _EXAMPLES, _turn(" ".join(kept.support), kept.question, again))


def _turn(text: str, asked: str, again: str) -> str:
    return (
        f"Text: {text}\nQuestion 1: {asked}\nQuestion 2: {again}\n"
        "Does one answer fit both questions? Yes or no?"
    )


def _examples(text: str, pairs: Sequence[tuple[str, str, bool]]) -> tuple[Example, ...]:
    return tuple(
        Example(_turn(text, asked, again), "Yes" if fits else "No") for asked, again, fits in pairs
    )


_EXAMPLES = _examples(
    "The old bridge over the Aller was built in 1904 by the engineer Karl Voss, who had studied in "
    "Vienna, for 2 million marks.",
    (
        (
            "Who built the old bridge over the Aller?",
            "Which engineer was the old Aller bridge constructed by?",
            True,
        ),
        (
            "In what year was the old bridge over the Aller built?",
            "In what year was the old bridge over the Aller repaired?",
            False,
        ),
        ("How much did the bridge cost?", "What sum was paid for the bridge?", True),
        ("Where had Karl Voss studied?", "What had Karl Voss studied?", False),
    ),
)
