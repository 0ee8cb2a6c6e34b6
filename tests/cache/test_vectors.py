"""Embeddings that are kept."""

from collections.abc import Sequence

import numpy as np

from tiffin.cache.vectors import KnownVectors, Vectors
from tiffin.clients import Encoded
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline


class Counting:
    """Embeds a text as its length, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def embed(self, texts: Sequence[str], context: RequestContext) -> tuple[Vectors, int]:
        encoded = await self.encode(texts, context)
        return encoded.rows, encoded.tokens

    async def encode(self, texts: Sequence[str], _: RequestContext) -> Encoded:
        self.asked.append(list(texts))
        rows = np.array([[len(text), 1.0] for text in texts], np.float32)
        cut = [index for index, text in enumerate(texts) if text.startswith("long")]
        return Encoded(rows, 10 * len(texts), cut)


def of(tenant: str) -> RequestContext:
    return RequestContext(Deadline.after(5), tenant=tenant)


async def test_only_new_texts_are_asked_for_and_rows_keep_their_order() -> None:
    counting = Counting()
    known = KnownVectors(counting, 1 << 20)
    await known.embed(["a", "bbb"], of("t"))
    rows, tokens = await known.embed(["cc", "bbb", "a", "cc"], of("t"))
    assert counting.asked == [["a", "bbb"], ["cc"]]
    assert (rows[:, 0].tolist(), tokens) == ([2, 3, 1, 2], 10)
    assert (await known.embed(["a"], of("t")))[1] == 0


async def test_what_was_not_read_to_its_end_is_said_again() -> None:
    known = KnownVectors(Counting(), 1 << 20)
    await known.encode(["a", "long"], of("t"))
    encoded = await known.encode(["longer", "b", "long"], of("t"))
    assert (encoded.tokens, encoded.cut) == (20, [0, 2])


async def test_tenants_do_not_profit_from_each_other() -> None:
    counting = Counting()
    known = KnownVectors(counting, 1 << 20)
    await known.embed(["a"], of("t"))
    await known.embed(["a"], of("u"))
    assert counting.asked == [["a"], ["a"]]


async def test_memory_is_bounded_and_what_was_used_last_stays() -> None:
    counting = Counting()
    known = KnownVectors(counting, 10 * (8 + 250))
    for number in range(50):
        await known.embed(["kept", f"text {number}"], of("t"))
    assert len(counting.asked[-1]) == 1
    await known.embed(["text 0"], of("t"))
    assert counting.asked[-1] == ["text 0"]
