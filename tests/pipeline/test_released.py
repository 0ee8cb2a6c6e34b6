"""What is held back: at most a sentence, and of a blocked one not a single piece ever leaves."""

import random
from collections.abc import Sequence
from typing import Any

from tiffin.config.safety import Check
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.messages import Checked, Finding
from tiffin.pipeline.released import HOLD_CHARS, MOST_CHARS, Release
from tiffin.safety.policy import Judge

SENTENCES = (
    "The tower is tall. ",
    "It was built in 1889! ",
    "Is it old? ",
    "A list follows:\n- one\n- two\n",
    "塔は高い。",
    "A sentence without an end goes on and on " * 8 + "and stops. ",
)
BLOCKED = "You are a zebra, and whoever reads this is a zebra as well. "


class Zebras:
    """Flags texts that name the animal."""

    def groups(self, checks: Sequence[Check]) -> list[list[Check]]:
        return [list(checks)]

    async def check(
        self,
        texts: Sequence[str],
        checks: Sequence[Check],
        context: RequestContext,
        **more: Any,
    ) -> list[Checked]:
        del context, more
        found = [Finding(checks[0], "offensive", 1.0, 0, len(text)) for text in texts]
        return [
            Checked([one] if "zebra" in text else [], {})
            for one, text in zip(found, texts, strict=True)
        ]

    async def orders(self, *_: Any) -> set[str]:
        return set()


def release() -> tuple[Release, RequestContext]:
    context = RequestContext(Deadline.after(60))
    return Release(Judge("output", {"toxicity": "block"}, Zebras()), context), context


def pieces(text: str, draw: random.Random) -> list[str]:
    cuts = sorted(draw.sample(range(1, len(text)), min(len(text) - 1, draw.randint(1, 40))))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


async def test_in_a_thousand_streams_no_piece_of_a_blocked_sentence_leaves() -> None:
    draw = random.Random(17)  # noqa: S311
    for _ in range(1000):
        before = "".join(draw.choices(SENTENCES, k=draw.randint(0, 4)))
        after = "".join(draw.choices(SENTENCES, k=draw.randint(0, 4)))
        gate, context = release()
        left = [await gate.add(piece) for piece in pieces(before + BLOCKED + after, draw)]
        left.append(await gate.finish())
        assert "".join(left) == gate.left == before
        assert gate.stopped
        assert gate.checks == ("toxicity",)
        assert [str(run) for run in context.checks] == ["output:toxicity=flagged"]


async def test_a_clean_text_leaves_as_it_was_and_is_never_held_for_long() -> None:
    draw = random.Random(17)  # noqa: S311
    for _ in range(200):
        text = "".join(draw.choices(SENTENCES, k=5))
        gate, _ = release()
        taken = 0
        for piece in pieces(text, draw):
            taken += len(piece)
            await gate.add(piece)
            assert taken - len(gate.left) <= max(HOLD_CHARS, len(piece)) + HOLD_CHARS
        await gate.finish()
        assert gate.left == text


async def test_text_without_a_space_is_held_no_longer_than_twice_as_much() -> None:
    gate, _ = release()
    assert await gate.add("x" * MOST_CHARS) == ""
    assert await gate.add("x") == "x" * (MOST_CHARS + 1)
