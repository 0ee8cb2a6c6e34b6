"""Scores of pairs that are kept."""

import numpy as np
import pytest

from tiffin.cache.relevance import ENTRY_BYTES, KnownScores, Logits
from tiffin.clients import Read
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline


class Counting:
    """Scores a text by its length, and notes what it was asked for."""

    def __init__(self, *, reads: bool = True) -> None:
        self.asked: list[list[str]] = []
        self.reads = reads

    async def score(self, query: str, passages: list[str], _: RequestContext) -> tuple[Logits, int]:
        self.asked.append(passages)
        return np.array([len(query + text) for text in passages], np.float32), 10 * len(passages)

    async def read(self, query: str, sentences: list[str], context: RequestContext) -> Read:
        logits, tokens = await self.score(query, sentences, context)
        return Read(logits, -logits if self.reads else None, tokens)


def of(tenant: str) -> RequestContext:
    return RequestContext(Deadline.after(5), tenant=tenant)


async def test_a_question_asked_again_is_scored_only_over_what_is_new() -> None:
    counting = Counting()
    known = KnownScores(counting, 1 << 20)
    await known.score("q", ["a", "bbb"], of("t"))
    logits, tokens = await known.score("q", ["cc", "bbb", "a", "cc"], of("t"))
    assert counting.asked == [["a", "bbb"], ["cc"]]
    assert (logits.tolist(), tokens) == ([3, 4, 2, 3], 10)


@pytest.mark.parametrize("reads", [True, False])
async def test_sentences_keep_their_readings_if_the_model_has_them(*, reads: bool) -> None:
    counting = Counting(reads=reads)
    known = KnownScores(counting, 1 << 20)
    first = await known.read("q", ["a", "bb"], of("t"))
    again = await known.read("q", ["bb", "a"], of("t"))
    assert (len(counting.asked), first.tokens, again.tokens) == (1, 20, 0)
    assert again.logits.tolist() == [3, 2]
    assert (again.readings is None) != reads
    if again.readings is not None:
        assert again.readings.tolist() == [-3, -2]


async def test_another_question_or_tenant_is_scored_anew() -> None:
    counting = Counting()
    known = KnownScores(counting, 1 << 20)
    for query, tenant in (("q", "t"), ("p", "t"), ("q", "u")):
        await known.score(query, ["a"], of(tenant))
    assert len(counting.asked) == 3


async def test_scores_take_no_more_memory_than_they_may() -> None:
    counting = Counting()
    known = KnownScores(counting, 20 * ENTRY_BYTES)
    for number in range(50):
        await known.score("q", ["kept", f"text {number}"], of("t"))
    assert counting.asked[-1] == ["text 49"], "what is asked for stays"
    await known.score("q", ["text 0"], of("t"))
    assert counting.asked[-1] == ["text 0"]
