"""A guard model on a tier in place of our heads: what is a verdict, and what if there is none."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from models.values import Finished, GenerateRequest, TextDelta, TokenEvent, TokenUsage
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import DeadlineExceeded, Unavailable, UpstreamFailed
from tiffin.core.messages import Checked
from tiffin.providers.guard_tier import GuardTier
from tiffin.traffic.failover import Breaker


class Says:
    """A tier that gives one answer to everyone, in pieces, or misbehaves."""

    def __init__(self, answer: str, *, ends: bool = True, wait_s: float = 0) -> None:
        self.answer, self.ends, self.wait_s = answer, ends, wait_s
        self.asked: list[GenerateRequest] = []

    async def generate(
        self, request: GenerateRequest, _: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        self.asked.append(request)
        await asyncio.sleep(self.wait_s)
        for piece in self.answer:
            yield TextDelta(piece)
        if self.ends:
            yield Finished(reason="stop", usage=TokenUsage(prompt_tokens=1, completion_tokens=1))


def guard(tier: Says, instructions: str | None = None) -> GuardTier:
    return GuardTier("guard", tier, instructions, Breaker("moderation", 2, 60.0))


async def checked(made: GuardTier, *texts: str, seconds: float = 5) -> list[Checked]:
    return await made.check(texts, RequestContext(Deadline.after(seconds)))


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ("safe", []),
        ("\n\nsafe\n", []),
        ("No", []),
        ("No.", []),
        ("Yes", ["other"]),
        ("unsafe", ["other"]),
        ("unsafe\nS10", ["hate"]),
        ("unsafe\nS1, S4,S10", ["violence", "other", "hate"]),
    ],
)
async def test_a_verdict_is_a_finding_over_the_whole_text(answer: str, kinds: list[str]) -> None:
    tier = Says(answer)
    (found,) = await checked(guard(tier), "you fool")
    assert [(one.check, one.kind, one.end) for one in found.findings] == [
        ("toxicity", kind, 8) for kind in kinds
    ]
    assert [turn.role for turn in tier.asked[0].messages] == ["user"]


@pytest.mark.parametrize(
    "answer",
    ["", "maybe", "safe or unsafe", "I think that this is safe", "unsafe\nbecause", "Not sure"],
)
async def test_anything_else_is_no_verdict(answer: str) -> None:
    with pytest.raises(UpstreamFailed, match="gave no verdict"):
        await checked(guard(Says(answer)), "hello")


async def test_a_verdict_that_broke_off_is_none() -> None:
    with pytest.raises(UpstreamFailed, match="broke off"):
        await checked(guard(Says("safe", ends=False)), "hello")


async def test_one_that_is_late_is_given_up_at_the_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match="guard"):
        await checked(guard(Says("safe", wait_s=30)), "hello", "you", seconds=0.05)


async def test_one_that_fails_is_left_alone_for_a_while() -> None:
    tier = Says("maybe")
    made = guard(tier)
    for _ in range(4):
        with pytest.raises((UpstreamFailed, Unavailable)):
            await checked(made, "hello")
    assert len(tier.asked) == 2


async def test_a_model_without_a_template_of_its_own_is_told_what_to_say() -> None:
    tier = Says("safe")
    await checked(guard(tier, "Answer safe or unsafe."), "hello")
    assert [turn.role for turn in tier.asked[0].messages] == ["system", "user"]
